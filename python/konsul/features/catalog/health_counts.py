"""How many instances are not passing, known without counting: a node follows those that are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, Literal
from weakref import WeakKeyDictionary

from konsul.engine import Engine
from konsul.features.catalog.healths import conditions
from konsul.features.catalog.tables import CRITICAL, PASSING, STATUSES, WARNING, Instance
from konsul.features.catalog.watches import as_healthy, instances
from konsul.kernel.following import Changes, Following
from konsul.kernel.scanning import packed_pages

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

_FOLLOWED: Final = (WARNING, CRITICAL)
_HEALTH: Final = Instance.column("health")


class HealthCounts:
    """Counts instances by health. What is passing, nearly all, is never looked at: it is the rest."""

    name: ClassVar[str] = "health-counts"
    runs: ClassVar[Literal["everywhere", "on-leader"]] = "everywhere"

    def __init__(self, kernel: Kernel) -> None:
        self._engine = kernel.engine
        self._ill: dict[bytes, str] = {}
        specs = [as_healthy(instances(None), health) for health in _FOLLOWED]
        self._following = Following(kernel, specs, self._take)
        _COUNTS[kernel.engine] = self

    async def start(self) -> None:
        """Counts from now on."""
        self._following.start(self.name)

    async def stop(self) -> None:
        """Counts no more."""
        await self._following.stop()

    def health(self) -> str | None:
        """What is wrong, or None."""
        return self._following.health()

    def counts(self) -> dict[str, int]:
        """Instances by status, as far as this node has heard."""
        found = dict.fromkeys(STATUSES, 0)
        # A copy: whoever asks may be on another thread.
        for health in list(self._ill.values()):
            found[health] += 1
        found[PASSING] = max(0, self._engine.count(Instance.table_id) - found[WARNING] - found[CRITICAL])
        return found

    def _take(self, changes: Changes) -> bool:
        if changes is None:
            self._ill = dict(self._all())
            return True
        for _, key in changes:
            row = self._engine.get(Instance.table_id, key)
            health = PASSING if row is None or len(row.cells) <= _HEALTH else row.cells[_HEALTH]
            if health == PASSING:
                self._ill.pop(key, None)
            else:
                self._ill[key] = health
        return True

    def _all(self) -> list[tuple[bytes, str]]:
        found: list[tuple[bytes, str]] = []
        for health in _FOLLOWED:
            for where in conditions(health):
                for rows in packed_pages(self._engine, Instance.table_id, b"", where):
                    found += [(key, health) for key, _ in rows]
        return found


_COUNTS: Final[WeakKeyDictionary[Engine, HealthCounts]] = WeakKeyDictionary()


def counts_of(engine: Engine) -> dict[str, int]:
    """Instances by status; all passing on a node that does not follow them."""
    counting = _COUNTS.get(engine)
    if counting is not None:
        return counting.counts()
    return dict.fromkeys(STATUSES, 0) | {PASSING: engine.count(Instance.table_id)}
