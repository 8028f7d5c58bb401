"""How the instances of a service are, counted: shown beside a dependency, and changing nothing about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from konsul.features.catalog.tables import STATUSES, Instance, instances_prefix
from konsul.kernel.context import Context
from konsul.kernel.scanning import packed_pages

Word: TypeAlias = Literal["passing", "warning", "critical", "absent"]
_HEALTH: Final = Instance.column("health")
_PAGE: Final = 10_000


@dataclass(frozen=True, slots=True)
class Health:
    """How many instances a service has of each status."""

    passing: int = 0
    warning: int = 0
    critical: int = 0

    @property
    def word(self) -> Word:
        """The worst of its instances; `absent` when it has none."""
        if self.critical:
            return "critical"
        if self.warning:
            return "warning"
        return "passing" if self.passing else "absent"

    def document(self) -> dict[str, object]:
        """As answers show it."""
        counts = {"passing": self.passing, "warning": self.warning, "critical": self.critical}
        return {"health": self.word, "instances": counts}


def health_of(ctx: Context, name: str) -> Health:
    """The instances of a service as they are now, counted through the index."""
    return Health(*(_count(ctx, instances_prefix(name), status) for status in STATUSES))


def _count(ctx: Context, prefix: bytes, status: str) -> int:
    where = [(_HEALTH, status.encode())]
    return sum(map(len, packed_pages(ctx.engine, Instance.table_id, prefix, where, size=_PAGE)))
