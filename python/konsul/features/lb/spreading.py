"""What was reported to one node, told to the others: in batches, within a second, and lost without harm.

A report is a moment's word that ends by itself; one that does not arrive leaves the other node with an older
one, or none. So nothing is kept for a node that does not answer, and nothing is told twice.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal
from weakref import WeakKeyDictionary

from konsul.engine import Caller, Engine
from konsul.errors import Invalid, KonsulError
from konsul.features.lb.config import LbSettings
from konsul.features.lb.loads import CHECKS, Loads, Report, loads_of, set_loads
from konsul.features.lb.metrics import REPORTS, REPORTS_LOST
from konsul.kernel.cluster_settings import ClusterSettings
from konsul.kernel.logging import logger

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

KIND: Final = "lb-reports"
PER_MESSAGE: Final = 1_000
"""Of at most about 500 bytes each: well under the megabyte that a message may have."""
ASK_MS: Final = 1_000
_TEXT_MAX: Final = 1_024


class Outbox:
    """The reports that the other nodes have not been told, the newest of each client and instance."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[tuple[bytes, str], tuple[Report, float]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, report: Report) -> bool:
        """False if it had no room: only this node will know it."""
        place = (report.key, report.client)
        if place not in self._waiting and len(self._waiting) >= self._most:
            return False
        self._waiting[place] = (report, time.monotonic())
        return True

    def take(self) -> list[list[Any]]:
        """All of them as they travel, with their ages; then there are none."""
        now = time.monotonic()
        found, self._waiting = self._waiting, {}
        return [
            [one.key, one.client, one.connections, one.latency_ms, now - at] for one, at in found.values()
        ]


_OUT: WeakKeyDictionary[Engine, Outbox] = WeakKeyDictionary()


def note(engine: Engine, report: Report) -> None:
    """Takes a report that a client made to this node."""
    loads_of(engine).take(report)
    REPORTS.labels("clients").inc()
    outbox = _OUT.get(engine)
    if outbox is not None:
        _put(outbox, report)


def _put(outbox: Outbox, report: Report) -> None:
    if not outbox.put(report):
        REPORTS_LOST.labels("full").inc()


def note_check(engine: Engine, key: bytes, latency_ms: float) -> None:
    """An answer of an instance (the key of its row) to a health check took so long: for who runs checks."""
    loads, report = loads_of(engine), Report(key, CHECKS, None, latency_ms)
    loads.take(report)
    REPORTS.labels(CHECKS).inc()
    outbox = _OUT.get(engine)
    if outbox is not None and loads.is_news(key):
        _put(outbox, report)


class Spreading:
    """Tells the other nodes, and listens to them."""

    name: ClassVar[str] = "lb-spreading"
    runs: ClassVar[Literal["everywhere", "on-leader"]] = "everywhere"

    def __init__(self, kernel: Kernel) -> None:
        self._engine: Engine = kernel.engine
        self._settings = kernel.config.of(LbSettings)
        self._enabled = kernel.config.of(ClusterSettings).enabled
        self._outbox = Outbox(self._settings.spread_max)
        self._task: asyncio.Task[None] | None = None
        self._loads = loads_of(kernel.engine)

    async def start(self) -> None:
        """Tells and listens from now on; a lone node has nobody to tell."""
        if not self._enabled:
            return
        self._engine.handlers.add(KIND, self._hear)
        _OUT[self._engine] = self._outbox
        self._task = asyncio.create_task(self._tell(), name=self.name)

    async def stop(self) -> None:
        """What was not told is lost."""
        if self._task is None:
            return
        _OUT.pop(self._engine, None)
        del self._engine.handlers[KIND]
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None

    def health(self) -> str | None:
        """What is wrong, or None."""
        return f"ended: {self.name}" if self._task is not None and self._task.done() else None

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(self._settings.spread_interval_ms / 1_000)
            if not len(self._outbox):
                continue
            try:
                await self._round(self._outbox.take())
            except KonsulError as error:
                logger().debug("reports could not be passed on", why=str(error))

    async def _round(self, reports: list[list[Any]]) -> None:
        cluster = self._engine.cluster()
        own = cluster.get("raft_id")
        peers = [member["raft_id"] for member in cluster.get("members", ()) if member["raft_id"] != own]
        await asyncio.gather(*(self._tell_one(peer, reports) for peer in peers))

    async def _tell_one(self, peer: int, reports: list[list[Any]]) -> None:
        told = 0
        try:
            while told < len(reports):
                part = reports[told : told + PER_MESSAGE]
                await self._engine.call(peer, KIND, {"reports": part}, ASK_MS)
                told += len(part)
        except KonsulError as error:
            # It is away, or of a version without such reports: it does without them.
            REPORTS_LOST.labels("unreached").inc(len(reports) - told)
            logger().debug("reports did not reach a node", raft_id=peer, why=str(error))

    async def _hear(self, caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
        del caller
        reports = body.get("reports")
        if not isinstance(reports, list) or len(reports) > PER_MESSAGE:
            raise Invalid(f"{KIND}: expected up to {PER_MESSAGE} reports")
        for report in [_read(one) for one in reports]:
            self._loads.take(report)
        REPORTS.labels("nodes").inc(len(reports))
        return {}


def _read(report: object) -> Report:
    match report:
        case [
            bytes(key),
            str(client),
            int() | None as connections,
            int() | float() | None as latency,
            int() | float() as age,
        ]:
            numbers = [float(value) for value in (connections, latency, age) if value is not None]
            is_short = len(key) <= _TEXT_MAX and len(client) <= _TEXT_MAX
            if is_short and all(math.isfinite(value) and value >= 0 for value in numbers):
                return Report(key, client, connections, latency, float(age))
    raise Invalid(f"{KIND}: a report cannot be read")


def install(kernel: Kernel) -> None:
    """What the node is told has the bounds of its settings."""
    settings = kernel.config.of(LbSettings)
    loads = Loads(
        ttl_s=settings.report_ttl_ms / 1_000,
        latency_ttl_s=settings.latency_ttl_ms / 1_000,
        decay_s=settings.latency_decay_ms / 1_000,
        most=settings.reports_max,
    )
    set_loads(kernel.engine, loads)
