"""The only door to the Rust core: tickets become awaitables, codes become the classes of `konsul.errors`.

Reads go straight through and answer the applied state now; writes are proposed and answered after commit and
local apply. Nothing here decides anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast

import msgpack
import orjson

from konsul import _core
from konsul.errors import Conflict, Internal, KonsulError

_ABI: Final = 1
"""The meaning of `_core.pyi` this file was written for."""
_REAP_LIMIT: Final = 4096
_NO_INDEX: Final[Sequence[tuple[int, bytes]]] = ()

Backend: TypeAlias = Literal["durable", "memory"]
Consistency: TypeAlias = Literal["default", "linearizable"]
Completion: TypeAlias = tuple[int, int, int, int, bytes]
"""`(ticket, status, index, number, text)`, see `Core.reap`."""


def _shake_hands() -> None:
    """Refuses a core built for another stub or another version of this package.

    Raises:
        ImportError: with both numbers and what to do about it.
    """
    wanted = version("konsul")
    found = (_core.VERSION, _core.ABI)
    if found != (wanted, _ABI):
        raise ImportError(
            f"konsul {wanted} (interface {_ABI}) found a native core {found[0]} (interface {found[1]}): "
            "reinstall the package so that both come from one build"
        )


_shake_hands()

Shape = _core.Shape
Replica = _core.Replica


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How one node runs. Names carry units; every bound is inclusive."""

    data_dir: str
    node_id: int = 1
    backend: Backend = "durable"
    heartbeat_ms: int = 100
    election_ms: int = 1_000
    tick_ms: int = 10
    snapshot_interval_ms: int = 120_000
    snapshot_threshold_entries: int = 8_192
    snapshot_retention: int = 2
    trailing_entries: int = 10_240
    segment_bytes: int = 16 << 20
    inflight_max_entries: int = 65_536
    inflight_max_bytes: int = 256 << 20
    disk_reserve_bytes: int = 64 << 20
    map_max_bytes: int = 64 << 30
    sync_writes: bool = True

    def packed(self) -> bytes:
        """The msgpack map the core reads."""
        return cast(bytes, msgpack.packb(asdict(self)))


class Applied(NamedTuple):
    """Where a write landed: the entry's index, which its rows have as modify_index, and the case it chose."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    case: int


class Row(NamedTuple):
    """One stored row, its cells in column order."""

    create_index: int
    modify_index: int
    cells: list[Any]


class Page(NamedTuple):
    """One page of rows as `(key, row)`, and the key to continue after, or None at the end."""

    rows: list[tuple[bytes, Row]]
    after: bytes | None


class JsonPage(NamedTuple):
    """One page as a JSON array, how many items it holds, and the key to continue after."""

    json: bytes
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here
    after: bytes | None


def unpack_row(packed: bytes) -> Row:
    """Reads the core's packed row."""
    unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, max_buffer_size=0)
    unpacker.feed(memoryview(packed)[16:])
    return Row(int.from_bytes(packed[:8]), int.from_bytes(packed[8:16]), list(unpacker))


def raise_for(completion: Completion) -> Applied:
    """The answer of a finished ticket.

    Raises:
        KonsulError: the class of the completion's status.
    """
    _, status, index, number, text = completion
    if status == 0:
        return Applied(index, number)
    if status == Conflict.code:
        raise Conflict(f"conflict: current modify_index is {number}", key=text, current=number)
    raise _error(status, text.decode("utf-8", "replace"))


def _error(code: int, message: str) -> KonsulError:
    """The one doorway from numbers to classes."""
    kind = KonsulError.by_code.get(code)
    return (
        Internal(f"the core answered the unknown code {code}: {message}") if kind is None else kind(message)
    )


def _refusal(error: _core.CoreError) -> KonsulError:
    code, message = error.args
    return _error(code, message)


class _Door:
    """The one doorway for errors: what the core refuses inside it is raised as an error of `errors.py`."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, _core.CoreError):
            raise _refusal(error) from None


_DOOR: Final = _Door()


class Engine:
    """One node as an asyncio citizen. For the loop it was started on; the reads are for any thread.

    `core` and `waiting` are open to the HTTP front: it may submit by itself, put a future of its own under
    the ticket and is answered with the raw completion. Futures here get a result, never an exception.
    """

    def __init__(self, options: Options) -> None:
        """Builds the core; touches nothing on disk.

        Raises:
            Invalid: an option is out of its range.
        """
        self.options = options
        self.waiting: dict[int, asyncio.Future[Completion]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        with _DOOR:
            self.core = _core.Core(options.packed())

    # Life

    async def start(self, schema: bytes) -> None:
        """Recovers the data directory, becomes leader and installs `schema` (docs/reference/entries.md).

        Raises:
            StartFailed: the data directory is locked, read-only, corrupt or newer, or the schema cannot
                follow the stored one. The message says what to do.
        """
        loop = asyncio.get_running_loop()
        with _DOOR:
            await asyncio.to_thread(self.core.start, schema)
        self._loop = loop
        loop.add_reader(self.core.fileno(), self._reap)

    async def stop(self, grace_ms: int = 10_000) -> None:
        """Refuses new work, waits up to `grace_ms` for what is in flight, snapshots if due, closes cleanly.

        Whoever still waits afterwards is answered with `Stopping`. Calling it again does nothing.
        """
        if self._loop is None:
            return
        try:
            with _DOOR:
                await asyncio.to_thread(self.core.stop, grace_ms)
        finally:
            self._reap()
            self._loop.remove_reader(self.core.fileno())
            self._loop = None

    def status(self) -> dict[str, Any]:
        """Role, term, indices, disk state and sizes. Cheap."""
        return cast(dict[str, Any], orjson.loads(self.core.status()))

    def metrics(self) -> dict[str, Any]:
        """Native counters, gauges and histograms. Cheap."""
        return cast(dict[str, Any], orjson.loads(self.core.metrics()))

    # Writes

    async def commit(self, cases: bytes, timeout_ms: int = 5_000) -> Applied:
        """Applies the first of the packed `cases` whose guards hold.

        Raises:
            Conflict: no case held. NotFound, LimitReached, Duplicate: the chosen case was refused.
            Invalid, TooLarge, Unsupported: it cannot enter the log.
            Timeout: no answer in `timeout_ms`; the write may still be applied.
            Busy, DiskFull, NoLeader, Stopping.
        """
        with _DOOR:
            ticket = self.core.commit(cases, timeout_ms)
        return raise_for(await self._answer(ticket))

    async def put(
        self, table: int, key: bytes, cells: bytes, at: int | None = None, timeout_ms: int = 5_000
    ) -> Applied:
        """Writes one row from a packed array of `cells`; `at` guards on its modify_index (0: must be absent).

        Raises:
            As `commit`.
        """
        with _DOOR:
            ticket = self.core.put(table, key, cells, at, timeout_ms)
        return raise_for(await self._answer(ticket))

    async def renew(self, table: int, key: bytes, timeout_ms: int = 5_000) -> None:
        """Gives the row's lease its full length again; nothing enters the log.

        Raises:
            NotFound: there is no such lease, or its end is already on the way. NoLeader, Timeout, Stopping.
        """
        with _DOOR:
            ticket = self.core.renew(table, key, timeout_ms)
        raise_for(await self._answer(ticket))

    async def barrier(self, consistency: Consistency, timeout_ms: int = 5_000) -> None:
        """Returns when a read started now may be served with `consistency`.

        Raises:
            NoLeader, Timeout, Stopping.
        """
        with _DOOR:
            ticket = self.core.barrier(consistency, timeout_ms)
        raise_for(await self._answer(ticket))

    async def snapshot(self, timeout_ms: int = 60_000) -> int:
        """Takes a snapshot now; returns the index of the tables it holds.

        Raises:
            Invalid: nothing was applied since the last one. Busy, DiskFull, Timeout, Stopping.
        """
        with _DOOR:
            ticket = self.core.snapshot(timeout_ms)
        return raise_for(await self._answer(ticket)).index

    # Reads: the applied state, now. All raise Unsupported for an unknown table or column.

    def get(self, table: int, key: bytes) -> Row | None:
        """The row under `key`."""
        with _DOOR:
            packed = self.core.get(table, key)
        return None if packed is None else unpack_row(packed)

    def get_json(self, shape: Shape, key: bytes) -> bytes | None:
        """The row under `key` as JSON text."""
        with _DOOR:
            return self.core.get_json(shape, key)

    def scan(
        self,
        table: int,
        prefix: bytes = b"",
        where: Sequence[tuple[int, bytes]] = _NO_INDEX,
        after: bytes | None = None,
        limit: int = 1_000,
    ) -> Page:
        """Rows with `prefix`, ascending by key, above `after`, that match every `(column, value)` of `where`.

        A value is an index value: text and bytes as they are, a number in decimal, of a map `name=value`.

        Raises:
            Invalid: `limit` is over 10,000 or a column of `where` has no index.
        """
        rows, rest = self.scan_packed(table, prefix, where, after, limit)
        return Page([(key, unpack_row(row)) for key, row in rows], rest)

    def scan_packed(
        self,
        table: int,
        prefix: bytes = b"",
        where: Sequence[tuple[int, bytes]] = _NO_INDEX,
        after: bytes | None = None,
        limit: int = 1_000,
    ) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        """As `scan`, its rows still packed, for who looks into few of many; see `unpack_row`."""
        with _DOOR:
            return self.core.scan(table, prefix, where, after, limit)

    def scan_json(
        self,
        shape: Shape,
        prefix: bytes = b"",
        where: Sequence[tuple[int, bytes]] = _NO_INDEX,
        after: bytes | None = None,
        limit: int = 1_000,
    ) -> JsonPage:
        """As `scan`, written as JSON by the core."""
        with _DOOR:
            return JsonPage(*self.core.scan_json(shape, prefix, where, after, limit))

    def keys_json(
        self,
        table: int,
        prefix: bytes = b"",
        separator: bytes = b"",
        after: bytes | None = None,
        limit: int = 1_000,
    ) -> JsonPage:
        """Keys with `prefix`; with a `separator`, cut after its first occurrence past it and listed once."""
        with _DOOR:
            return JsonPage(*self.core.keys_json(table, prefix, separator, after, limit))

    def count(self, table: int) -> int:
        """How many rows the table has."""
        with _DOOR:
            return self.core.count(table)

    def lease_ms(self, table: int, key: bytes) -> int | None:
        """Milliseconds left of the row's lease, or None if it has none."""
        return self.core.lease_ms(table, key)

    def digest(self) -> bytes:
        """A checksum over every row: equal digests mean equal tables. Walks all rows: call it in a thread."""
        with _DOOR:
            return self.core.digest()

    # Completions

    async def _answer(self, ticket: int) -> Completion:
        future: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self.waiting[ticket] = future
        try:
            return await future
        finally:
            self.waiting.pop(ticket, None)

    def _reap(self) -> None:
        """Answers everyone whose ticket is done: one wake of the loop for a whole applied batch."""
        waiting = self.waiting
        while True:
            completions = self.core.reap(_REAP_LIMIT)
            for completion in completions:
                future = waiting.pop(completion[0], None)
                if future is not None and not future.done():
                    future.set_result(completion)
            if len(completions) < _REAP_LIMIT:
                return
