"""Plans of entries that change what is healthy.

All that was read is guarded: what was worked out from it holds when it is applied, or is worked out again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

from konsul.engine import Engine
from konsul.errors import Busy, Conflict
from konsul.features.catalog.healths import worst
from konsul.features.catalog.tables import CRITICAL, PASSING, Check, Instance, Node
from konsul.kernel import entry

if TYPE_CHECKING:
    from konsul.engine import Applied
    from konsul.kernel.context import Context

T = TypeVar("T")
ATTEMPTS: Final = 16
"""Plans of one change before it is given up: each further one means that somebody else succeeded."""


class Plan:
    """The one case of an entry, while it is put together."""

    def __init__(self, engine: Engine) -> None:
        self.engine: Final = engine
        self.guards: list[entry.Guard] = []
        self.ops: list[entry.Op] = []
        self.breaking: set[str] = set()
        """Checks that are there, and become critical by this plan."""

    @property
    def steps(self) -> int:
        """Guards and ops, of which an entry has at most `entry.MAX_STEPS`."""
        return len(self.guards) + len(self.ops)

    def instance(self, key: bytes) -> Instance | None:
        """The instance under a key, as it is now; not guarded."""
        row = self.engine.get(Instance.table_id, key)
        return None if row is None else Instance.stored(key, row.cells)

    def node(self, name: str) -> Node | None:
        """The node of that name, as it is now; not guarded."""
        key = name.encode()
        row = self.engine.get(Node.table_id, key)
        return None if row is None else Node.stored(key, row.cells)

    def check(self, check_id: str) -> Check | None:
        """The check under an id, as it is now; not guarded."""
        key = check_id.encode()
        row = self.engine.get(Check.table_id, key)
        return None if row is None else Check.stored(key, row.cells)

    def node_health(self, name: str | None) -> str:
        """How a node is, guarded; passing without one."""
        if name is None:
            return PASSING
        node = self.node(name)
        self.guards.append(entry.is_(Node, name, "health", None if node is None else node.health))
        return PASSING if node is None else node.health

    def statuses(self, check_ids: Iterable[str], known: Mapping[str, str] = {}) -> list[str]:
        """The status of each check, guarded; of those in `known` what that says, which is not."""
        found: list[str] = []
        for check_id in check_ids:
            status = known.get(check_id)
            if status is None:
                check = self.check(check_id)
                status = None if check is None else check.status
                self.guards.append(entry.is_(Check, check_id, "status", status))
            if status is not None:
                found.append(status)
        return found

    def settle_instance(
        self,
        row: Instance,
        check_ids: list[str] | None,
        known: Mapping[str, str],
        node_health: str | None = None,
    ) -> None:
        """Gives a stored instance these checks and the health that follows, guarded by what it is now.

        `known`: statuses that this plan writes. `node_health`: the node's, if it is guarded already.
        """
        key = row.key.encode()
        self.guards.append(entry.exists(Instance, key))
        self.guards.append(entry.is_(Instance, key, "check_ids", row.check_ids))
        self.guards.append(entry.is_(Instance, key, "node", row.node))
        on = self.node_health(row.node) if node_health is None else node_health
        health = worst([on, *self.statuses(check_ids or (), known)])
        changes: dict[str, object] = {}
        if check_ids != row.check_ids:
            changes["check_ids"] = check_ids or None
        if not self._is_law(health, row.check_ids):
            if row.health != health:
                changes["health"] = health
            else:
                # While a node's health is on its way to its instances, theirs does not follow from what was
                # read.
                self.guards.append(entry.is_(Instance, key, "health", health))
        if changes:
            self.ops.append(entry.patch(Instance, key, changes))

    def settle_node(self, row: Node, check_ids: list[str] | None, known: Mapping[str, str]) -> str:
        """As `settle_instance`, of a node; returns its health. Its instances are for `spreading`."""
        self.guards.append(entry.exists(Node, row.name))
        self.guards.append(entry.is_(Node, row.name, "check_ids", row.check_ids))
        health = worst(self.statuses(check_ids or (), known))
        changes: dict[str, object] = {}
        if check_ids != row.check_ids:
            changes["check_ids"] = check_ids or None
        if not self._is_law(health, row.check_ids):
            if row.health != health:
                changes["health"] = health
            else:
                self.guards.append(entry.is_(Node, row.name, "health", health))
        if changes:
            self.ops.append(entry.patch(Node, row.name, changes))
        return health

    def _is_law(self, health: str, before: Iterable[str] | None) -> bool:
        """True where the health need not be written: a check that it had becomes critical in this entry."""
        return health == CRITICAL and not self.breaking.isdisjoint(before or ())

    async def commit(self, ctx: Context) -> Applied:
        """Applies it. Raises Conflict when something is not as it was read; see `Context.commit`."""
        return await ctx.commit(entry.encode([entry.case(self.guards, self.ops)]))


async def planned(
    ctx: Context,
    attempt: Callable[[Plan], Awaitable[T]],
    what: str,
    *,
    owner: str | None = None,
    reads: bool = True,
) -> T:
    """Makes plans until one of them holds. `attempt` fills and commits one; it raises Conflict to be called
    again with a new one.

    Args:
        what: is being changed, for the message.
        owner: plans of the same one are made one after the other on this node; those of other nodes, and
            what is law, are met by the guards.
        reads: what it reads may be reason enough to refuse, so it must not be old.

    Raises:
        Busy: others changed it each time. What else `attempt` raises.
    """
    async with _turn(ctx.engine, what if owner is None else owner):
        for number in range(ATTEMPTS):
            if (number or reads) and not ctx.engine.is_current():
                # What it lost against is in the log, and perhaps not in the tables of this node yet.
                await ctx.engine.barrier("default", ctx.terms.timeout_ms)
            try:
                return await attempt(Plan(ctx.engine))
            except Conflict:
                continue
    raise Busy(f"{what} changes too often now: try again")


def _turn(engine: Engine, owner: str) -> asyncio.Lock:
    locks = _TURNS.setdefault(engine, WeakValueDictionary())
    lock = locks.get(owner)
    if lock is None:
        lock = locks[owner] = asyncio.Lock()
    return lock


_TURNS: Final[WeakKeyDictionary[Engine, WeakValueDictionary[str, asyncio.Lock]]] = WeakKeyDictionary()
