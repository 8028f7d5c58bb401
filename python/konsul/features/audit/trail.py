"""The audit log of one node: buffer, writer, store, and what asks them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakKeyDictionary

from konsul.errors import Busy, Unsupported
from konsul.features.audit.actions import actions
from konsul.features.audit.config import AuditSettings
from konsul.features.audit.search import Page, Position, Question, find, stamp
from konsul.features.audit.sinks import FileSink, Sink, StdoutSink
from konsul.features.audit.store import EventStore
from konsul.features.audit.writer import Buffer, Writer
from konsul.kernel.logging import logger

if TYPE_CHECKING:
    from konsul.engine import Engine
    from konsul.kernel.node import Kernel

T = TypeVar("T")
STOP_S: Final = 5.0
FLUSH_S: Final = 2.0
QUESTIONS_MAX: Final = 8
"""Searches that may wait or run at once; one runs at a time."""


class Trail:
    """Made when the feature is installed and auditing is on; its thread runs between `start` and `stop`."""

    def __init__(self, settings: AuditSettings, node_id: str, store_path: Path | None) -> None:
        self.settings = settings
        self.store: EventStore | None = None
        if store_path is not None:
            self.store = EventStore(
                store_path,
                retention_ms=settings.store_retention_ms,
                max_bytes=settings.store_max_bytes,
            )
        self.log: Any = _buffer(settings, node_id, lambda: self.writer.wake())
        sink: Sink = FileSink(settings) if settings.sink == "file" else StdoutSink()
        self.writer = Writer(
            self.log,
            sink,
            self.store,
            interval_s=settings.flush_interval_ms / 1_000,
            insists=settings.drop_policy == "block",
        )
        self._searches: ThreadPoolExecutor | None = None
        self._asking = 0

    @property
    def buffer(self) -> Buffer:
        """The buffer as the writer sees it."""
        found: Buffer = self.log
        return found

    def start(self) -> None:
        """Starts the writer."""
        self._searches = ThreadPoolExecutor(1, "audit-search")
        self.writer.start()

    def stop(self) -> None:
        """Writes what is buffered; takes at most five seconds."""
        if self._searches is not None:
            self._searches.shutdown(wait=True, cancel_futures=True)
            self._searches = None
        self.writer.stop(STOP_S)

    async def find(self, question: Question, limit: int, after: Position | None) -> Page:
        """One page of what is asked, up to the moment of asking.

        Raises:
            Unsupported: there is no store. Busy: too many ask already.
        """
        store = self.store
        if store is None:
            raise Unsupported("events are not kept for searching: KONSUL_AUDIT_STORE_ENABLED is off")

        def look() -> Page:
            self.writer.flush(FLUSH_S)
            return find(store, question, limit=limit, after=after)

        return await self._beside(look)

    async def stats(self) -> dict[str, Any]:
        """What was recorded, written and lost, and what the store holds."""
        return await self._beside(self._stats)

    async def _beside(self, work: Callable[[], T]) -> T:
        """Does it on the thread of searches."""
        if self._searches is None:
            raise Unsupported("the audit log is not running")
        if self._asking >= QUESTIONS_MAX:
            raise Busy("too many searches of the audit log at once")
        self._asking += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._searches, work)
        finally:
            self._asking -= 1

    def _stats(self) -> dict[str, Any]:
        settings, writer, log = self.settings, self.writer, self.buffer
        kept: dict[str, Any] | None = None
        if self.store is not None:
            kept = {
                "size_bytes": self.store.size_bytes(),
                "max_bytes": settings.store_max_bytes,
                "retention_ms": settings.store_retention_ms,
                "oldest": _moment(self.store.oldest_ns()),
            }
        return {
            "enabled": True,
            "events": settings.events,
            "sink": settings.sink,
            "drop_policy": settings.drop_policy,
            "buffer_size": settings.buffer_size,
            "waiting": log.waiting(),
            "recorded": log.recorded,
            "dropped": log.dropped + writer.lost_at_stop,
            "refused_requests": log.refused,
            "sinks": {
                name: {"written": seen.written, "errors": seen.errors, "failing": seen.failing}
                for name, seen in writer.of.items()
            },
            "store": kept,
        }


def _buffer(settings: AuditSettings, node_id: str, wake: Callable[[], object]) -> Any:
    """The compiled buffer, or its twin where the extension is not installed."""
    try:
        from konsul_ext.audit import AuditLog
    except ImportError:
        from konsul.features.audit.events import PlainAuditLog as AuditLog  # type: ignore[assignment]
    return AuditLog(
        actions(),
        node_id,
        which=settings.events,
        events_max=settings.buffer_size,
        drop_policy=settings.drop_policy,
        wake=wake,
    )


def _moment(at_ns: int | None) -> str | None:
    return None if at_ns is None else stamp(at_ns).decode()


def install(kernel: Kernel) -> None:
    """Fills the audit slot if auditing is on."""
    settings = kernel.config.of(AuditSettings)
    if not settings.enabled:
        return
    options = kernel.engine.options
    node_id = options.node_name or str(options.node_id)
    path: Path | None = None
    if settings.store_enabled and options.backend == "durable":
        path = Path(options.data_dir) / "audit"
    elif settings.store_enabled:
        logger().warning("audit events are not kept for searching: the node keeps its data in memory")
    trail = Trail(settings, node_id, path)
    _TRAILS[kernel.engine] = trail
    kernel.pipeline.audit = trail.log
    kernel.hangups.append(trail.writer.reopen)
    logger().info(
        "audit",
        sink=settings.sink,
        file=settings.file_path if settings.sink == "file" else None,
        events=settings.events,
        buffer_size=settings.buffer_size,
        flush_interval_ms=settings.flush_interval_ms,
        drop_policy=settings.drop_policy,
        store=path is not None,
    )


def trail_of(engine: Engine) -> Trail | None:
    """The audit log of the node with this engine; None while auditing is off."""
    return _TRAILS.get(engine)


_TRAILS: Final[WeakKeyDictionary[Engine, Trail]] = WeakKeyDictionary()
