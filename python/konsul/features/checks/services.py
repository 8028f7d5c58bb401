"""Running this node's share of the checks: being a runner, following the tables, telling what was found."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from konsul.engine import Caller, Row
from konsul.errors import Conflict, KonsulError, NotFound, Unsupported
from konsul.features.catalog.status import report
from konsul.features.catalog.tables import Check
from konsul.features.checks.aliases import Aliases
from konsul.features.checks.assignment import is_owner
from konsul.features.checks.config import CheckSettings
from konsul.features.checks.definition import RUN, definition_of
from konsul.features.checks.executors import Executors
from konsul.features.checks.metrics import REFUSED, RUNNERS
from konsul.features.checks.outcome import Outcome
from konsul.features.checks.overdue import deadlines_of
from konsul.features.checks.reports import Reports
from konsul.features.checks.running import Runner, Running
from konsul.features.checks.seen import KIND, RUNNERS_MAX, answer
from konsul.features.checks.tables import CHECK_FORM, RUNNER_FORM, CheckRunner
from konsul.features.lb.spreading import note_check
from konsul.kernel import entry
from konsul.kernel.context import Context
from konsul.kernel.following import Changes, Following
from konsul.kernel.logging import logger
from konsul.kernel.pipeline import INSIDE
from konsul.kernel.scanning import pages
from konsul.kernel.watching import Spec

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

_PAGE: Final = 500
"""Checks looked at before others get their turn of the loop."""
_RENEW_PART: Final = 3
_AGAIN_S: Final = 0.25
_FAREWELL_MS: Final = 500
_SPECS: Final = [
    Spec(CHECK_FORM, Check.table_id, "**", "admin:read", coalesce=True),
    Spec(RUNNER_FORM, CheckRunner.table_id, "**", "admin:read", coalesce=True),
]
_MEASURED: Final = frozenset(("http", "tcp", "grpc"))
"""Types whose time is that of the instance's answer."""
_INSTANCE: Final = Check.column("instance")
_TYPE: Final = Check.column("type")
_STATUS: Final = Check.column("status")
_OUTPUT: Final = Check.column("output")
_DEFINITION: Final = Check.column("definition")


class Checks:
    """On every node; those that hold a lease in `check_runners` share the checks among themselves."""

    name: ClassVar[str] = "checks"
    runs: ClassVar[Literal["everywhere", "on-leader"]] = "everywhere"

    def __init__(self, kernel: Kernel) -> None:
        self._kernel, self._engine = kernel, kernel.engine
        self._settings = kernel.config.of(CheckSettings)
        self._self = own_id(kernel)
        self._executors = Executors(self._settings, Aliases(kernel.engine).run)
        self._reports = Reports(self._report)
        self._runner = Runner(
            self._settings,
            self._executors.run,
            self._reports.tell,
            self._executors.sweep,
            measured=self._measured,
        )
        self._following = Following(kernel, _SPECS, self._take)
        self._nodes: frozenset[bytes] = frozenset()
        self._is_runner = False
        """True while this node's lease surely holds."""
        self._is_needed = asyncio.Event()
        """There has been a check to run: a cluster without any holds no leases for it."""
        self._changed: set[bytes] | None = None
        self._owed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begins to share in the work."""
        RUNNERS[self._engine] = self._runner
        if self._engine.options.cluster:
            self._engine.handlers.add(KIND, self._answer)
        self._runner.start()
        self._following.start("checks-following")
        self._tasks = [asyncio.create_task(self._assign(), name="checks-assigning")]
        if self._settings.enabled:
            self._tasks.append(asyncio.create_task(self._belong(), name="checks-belonging"))

    async def stop(self) -> None:
        """Hands the work over: the others need not wait for the lease."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._following.stop()
        await self._runner.stop()
        await self._reports.stop()
        self._executors.close()
        RUNNERS.pop(self._engine, None)
        if self._engine.options.cluster:
            del self._engine.handlers[KIND]
            if self._is_runner:
                await self._leave()

    def health(self) -> str | None:
        """What is wrong, or None."""
        ended = [task.get_name() for task in self._tasks if task.done()]
        if ended:
            return f"ended: {', '.join(ended)}"
        return self._following.health() or self._runner.health() or self._reports.health()

    # Being a runner

    async def _belong(self) -> None:
        """Holds the lease. Not surely held counts as lost: no check may run on two nodes."""
        ttl_s = self._settings.runner_ttl_ms / 1_000
        held_until_s = 0.0
        await self._is_needed.wait()
        while True:
            asked_s = time.monotonic()
            try:
                await self._hold()
                held_until_s = asked_s + ttl_s
                self._become(True)
                pause_s = ttl_s / _RENEW_PART
            except KonsulError as error:
                logger().debug("the lease of this node's checks is not renewed", why=str(error))
                pause_s = _AGAIN_S
            left_s = held_until_s - time.monotonic()
            if left_s <= 0:
                self._become(False)
            await asyncio.sleep(min(pause_s, left_s) if left_s > 0 else pause_s)

    async def _hold(self) -> None:
        """Renews the lease, or takes one. Raises KonsulError."""
        timeout_ms = self._settings.runner_ttl_ms // _RENEW_PART
        if self._engine.get(CheckRunner.table_id, self._self) is not None:
            try:
                await self._engine.renew(CheckRunner.table_id, self._self, timeout_ms)
                return
            except NotFound:
                pass
        cells = entry.cells(self._raft_id(), self._settings.runner_ttl_ms)
        await self._engine.put(CheckRunner.table_id, self._self, cells, None, timeout_ms)

    def _raft_id(self) -> int:
        return int(self._engine.cluster().get("raft_id") or 0)

    def _become(self, is_runner: bool) -> None:
        if is_runner == self._is_runner:
            return
        self._is_runner = is_runner
        if not is_runner:
            logger().warning("this node runs no checks: its lease is not renewed")
            self._runner.clear()
        self._owe(None)

    async def _leave(self) -> None:
        cases = [entry.case([], [entry.delete(CheckRunner, self._self)])]
        try:
            await self._engine.commit(entry.encode(cases), _FAREWELL_MS)
        except KonsulError as error:
            logger().debug("the others will notice that this node has gone", why=str(error))

    # Following the tables

    def _take(self, changes: Changes) -> bool:
        """Notes what is to be looked at; the tables are read by `_assign`, a piece at a time."""
        if changes is None or any(table == CheckRunner.table_id for table, _ in changes):
            self._owe(None)
        else:
            self._owe({key for _, key in changes})
        return True

    def _owe(self, keys: set[bytes] | None) -> None:
        if keys is None:
            self._changed = None
        elif self._changed is not None:
            self._changed |= keys
        self._owed.set()

    async def _assign(self) -> None:
        while True:
            await self._owed.wait()
            self._owed.clear()
            changed, self._changed = self._changed, set()
            try:
                if changed is None:
                    await self._assign_all()
                else:
                    await self._assign_some(changed)
            except KonsulError as error:
                if not isinstance(error, Unsupported):
                    logger().debug("checks could not be read", why=str(error))
                await asyncio.sleep(_AGAIN_S)
                self._owe(None)

    async def _assign_all(self) -> None:
        engine = self._engine
        page = engine.scan(CheckRunner.table_id, limit=RUNNERS_MAX)
        self._nodes = frozenset(key for key, _ in page.rows)
        seen: set[bytes] = set()
        for rows in pages(engine, Check.table_id, size=_PAGE):
            for key, row in rows:
                seen.add(key)
                self._consider(key, row)
            await asyncio.sleep(0)
        deadlines_of(engine).keep(seen)
        for one in self._runner.all():
            if one.id not in seen:
                self._consider(one.id, self._engine.get(Check.table_id, one.id))

    async def _assign_some(self, changed: set[bytes]) -> None:
        for number, key in enumerate(changed, 1):
            self._consider(key, self._engine.get(Check.table_id, key))
            if number % _PAGE == 0:
                await asyncio.sleep(0)

    def _consider(self, key: bytes, row: Row | None) -> None:
        """Takes a check on, leaves it, or notes what the tables say of it now."""
        deadlines_of(self._engine).note(key, None if row is None else list(row.cells))
        one = self._runner.get(key)
        is_run = row is not None and row.cells[_TYPE] in RUN
        if is_run:
            self._is_needed.set()
        if row is None or not is_run or not self._is_ours(key):
            if one is not None:
                self._runner.remove(key)
            return
        packed = row.cells[_DEFINITION] or b"{}"
        if one is not None and (one.packed, one.create_index) == (packed, row.create_index):
            one.stored_status = row.cells[_STATUS]
            return
        if one is None and len(self._runner) >= self._settings.checks_max:
            REFUSED.inc()
            return
        try:
            definition = definition_of(row.cells[_TYPE], packed)
        except (ValueError, KeyError, TypeError) as error:
            REFUSED.inc()
            logger().warning("a check cannot be run here", check=key.decode(), why=str(error))
            return
        added = self._runner.add(key, definition, row.cells[_STATUS], row.cells[_OUTPUT])
        added.packed, added.create_index = packed, row.create_index
        added.instance = (row.cells[_INSTANCE] or "").encode()

    def _is_ours(self, key: bytes) -> bool:
        return self._is_runner and is_owner(key, self._self, self._nodes)

    # Telling

    def _measured(self, one: Running, took_s: float) -> None:
        """How fast an instance answers is what `latency-based` balancing goes by."""
        if one.instance and one.definition.type in _MEASURED:
            note_check(self._engine, one.instance, took_s * 1_000)

    async def _report(self, one: Running, found: Outcome) -> None:
        """Writes a result, unless the check is another by now or another node's. Raises KonsulError."""
        if one.is_gone or not self._is_ours(one.id):
            raise NotFound("the check is not this node's any more")
        context = Context(self._engine, self._kernel.config, INSIDE, "", "", self._kernel.pipeline)
        try:
            await report(context, one.id.decode(), found.status, found.output, definition=one.packed)
        except Conflict:
            raise NotFound("the check has changed") from None

    async def _answer(self, caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
        del caller
        return answer(self._engine, body)


def own_id(kernel: Kernel) -> bytes:
    """Under what this node is known among the runners."""
    options = kernel.engine.options
    return (options.node_name or str(options.node_id)).encode()
