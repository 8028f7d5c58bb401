"""The only door to the Rust core: tickets become awaitables, codes become the classes of `konsul.errors`.

Reads go straight through and answer the applied state now; writes are proposed and answered after commit and
local apply. Nothing here decides anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeAlias, cast

import msgpack
import orjson

from konsul import _core
from konsul.answers import Applied, Completion, Door, JsonPage, Page, Row, raise_for, text_of, unpack_row
from konsul.calls import Answering, Caller, Handlers, pack, unpack_answer
from konsul.handshake import shake_hands
from konsul.options import Options

__all__ = ["Applied", "Caller", "Completion", "Consistency", "Engine", "Form", "JsonPage", "Options", "Page"]
__all__ += ["HttpLine", "HttpListener", "HttpRequest", "HttpTls", "Limiter", "RateLimits"]
__all__ += ["Access", "Grant", "Sight"]
__all__ += ["Replica", "Row", "Shape", "Watched", "raise_for", "unpack_row"]

_REAP_LIMIT: Final = 4096
_WATCHED_LIMIT: Final = 1024
"""What watches saw is handed out in such pieces, and the loop serves others in between."""
_SAYS: Final = 0
"""The ticket that only says, by its status, that something else waits."""
_CALL_WAITS: Final = 65_535
_WATCH_WAITS: Final = 65_534
_NO_INDEX: Final[Sequence[tuple[int, bytes]]] = ()

Consistency: TypeAlias = Literal["default", "linearizable"]
Watched: TypeAlias = tuple[int, int, int, bytes, bytes]
"""`(watch, kind, index, key, payload)`, see `Core.watched`."""

shake_hands(_core.VERSION, _core.ABI)

Access = _core.Access
Grant = _core.Grant
Sight = _core.Sight
Form = _core.Form
Shape = _core.Shape
Replica = _core.Replica
Limiter = _core.Limiter
RateLimits = _core.RateLimits
HttpListener = _core.HttpListener
HttpRequest = _core.HttpRequest
HttpTls = _core.HttpTls
HttpLine = _core.HttpLine


_DOOR: Final = Door(_core.CoreError)


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
        self.handlers = Handlers()
        self.on_watched: Callable[[list[Watched]], None] | None = None
        """Who takes what watches saw, on the loop thread; must not raise."""
        self._loop: asyncio.AbstractEventLoop | None = None
        with _DOOR:
            self.core = _core.Core(options.packed())
        self._answering = Answering(self.handlers, self.core.calls, self._tell)

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
            self._answering.cancel()
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

    async def commit(self, cases: bytes, timeout_ms: int = 5_000, request_id: bytes | None = None) -> Applied:
        """Applies the first of the packed `cases` whose guards hold.

        A `request_id` (16 bytes) that was applied before answers as it did then and changes nothing.

        Raises:
            Conflict: no case held. NotFound, LimitReached, Duplicate: the chosen case was refused.
            Invalid, TooLarge, Unsupported: it cannot enter the log.
            Timeout: no answer in `timeout_ms`; the write may still be applied.
            Busy, DiskFull, NoLeader, Stopping.
        """
        return raise_for(await self._answer(self.core.commit, cases, timeout_ms, request_id))

    async def put(
        self,
        table: int,
        key: bytes,
        cells: bytes,
        at: int | None = None,
        timeout_ms: int = 5_000,
        request_id: bytes | None = None,
    ) -> Applied:
        """Writes one row from a packed array of `cells`; `at` guards on its modify_index (0: must be absent).

        Raises:
            As `commit`.
        """
        return raise_for(await self._answer(self.core.put, table, key, cells, at, timeout_ms, request_id))

    async def renew(self, table: int, key: bytes, timeout_ms: int = 5_000) -> None:
        """Gives the row's lease its full length again; nothing enters the log.

        Raises:
            NotFound: there is no such lease, or its end is already on the way. NoLeader, Timeout, Stopping.
        """
        raise_for(await self._answer(self.core.renew, table, key, timeout_ms))

    async def barrier(self, consistency: Consistency, timeout_ms: int = 5_000) -> None:
        """Returns when a read started now may be served with `consistency`.

        Raises:
            NoLeader, Timeout, Stopping.
        """
        raise_for(await self._answer(self.core.barrier, consistency, timeout_ms))

    async def snapshot(self, timeout_ms: int = 60_000) -> int:
        """Takes a snapshot now; returns the index of the tables it holds.

        Raises:
            Invalid: nothing was applied since the last one. Busy, DiskFull, Timeout, Stopping.
        """
        return raise_for(await self._answer(self.core.snapshot, timeout_ms)).index

    async def wait_index(self, index: int, timeout_ms: int = 5_000) -> None:
        """Returns when the tables here are at `index` or later.

        Raises:
            Timeout, Stopping.
        """
        text_of(await self._answer(self.core.wait_index, index, timeout_ms))

    # The cluster: who is in it, and questions between its nodes. Unsupported without `Options.cluster`.

    def is_current(self) -> bool:
        """True if a `default` read started now may be served without waiting."""
        return self.core.is_current()

    def contact(self) -> tuple[bool, int, int]:
        """Whether a leader is known, ms since it was last heard of (0 on itself), the tables' index.

        Raises:
            Stopping: the node does not run.
        """
        with _DOOR:
            return self.core.contact()

    def cluster(self) -> dict[str, Any]:
        """The part of `status` about the cluster and its members; empty on a lone node."""
        return cast(dict[str, Any], self.status().get("cluster", {}))

    async def bootstrap(self, timeout_ms: int = 10_000) -> None:
        """Makes a new cluster of this fresh node alone.

        Raises:
            Conflict: it belongs to a cluster already. Timeout, Stopping.
        """
        text_of(await self._answer(self.core.bootstrap, timeout_ms))

    async def adopt(self, cluster_id: str, timeout_ms: int = 10_000) -> None:
        """Binds this fresh node to a cluster (16 hex digits), whose leader then brings it up to date.

        Raises:
            Conflict: it belongs to another. Invalid, Timeout, Stopping.
        """
        text_of(await self._answer(self.core.adopt, cluster_id, timeout_ms))

    async def change_members(self, op: dict[str, Any], timeout_ms: int = 10_000) -> None:
        """Applies one change: `op` is add, promote, demote, remove or update, with `raft_id` and a record.

        Raises:
            NoLeader: this node does not lead. Conflict: another change is on its way, or it cannot be done.
            NotFound, Invalid, Timeout, Stopping.
        """
        text_of(await self._answer(self.core.change_members, msgpack.packb(op), timeout_ms))

    async def transfer(self, raft_id: int = 0, timeout_ms: int = 10_000) -> None:
        """Hands leadership to a voter (0: the one that is furthest); returns when it has gone.

        Raises:
            NoLeader: this node does not lead. NotFound, Conflict, Timeout, Stopping.
        """
        text_of(await self._answer(self.core.transfer, raft_id, timeout_ms))

    def reload_tls(self) -> None:
        """Reads the peers' certificates anew; connections made from now on use them.

        Raises:
            Invalid: they cannot be used; the old ones stay.
        """
        with _DOOR:
            self.core.reload_tls()

    async def call(
        self, target: int | str, kind: str, body: dict[str, Any], timeout_ms: int = 5_000
    ) -> dict[str, Any]:
        """Asks a member (its raft id) or whoever listens at an address what its handler of `kind` answers.

        Raises:
            KonsulError: what the handler there raised. NotFound: nobody answers `kind` there.
            Unreachable, Timeout, Busy, Stopping.
        """
        raft_id, address = (target, "") if isinstance(target, int) else (0, target)
        question = pack([kind, body])
        answer = await self._answer(self.core.call, raft_id, address, question, timeout_ms)
        return unpack_answer(text_of(answer))

    # Watches

    def watch(self, form: Form | None, spec: bytes, since: int | None = None) -> int:
        """Opens a watch, see `Core.watch`; what it sees goes to `on_watched`. `core` has the other verbs.

        Raises:
            Invalid: this cannot be watched. TooMany: as many are open as may be. Stopping.
        """
        with _DOOR:
            return self.core.watch(form, spec, since)

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
        sight: Sight | None = None,
    ) -> Page:
        """Rows with `prefix`, ascending by key, above `after`, that match every `(column, value)` of `where`.

        A value is an index value: text and bytes as they are, a number in decimal, of a map `name=value`.
        With a `sight` what it sees: a page with fewer rows than `limit` may then have a key to continue
        after, which its reader must not be shown.

        Raises:
            Invalid: `limit` is over 10,000 or a column of `where` has no index.
        """
        rows, rest = self.scan_packed(table, prefix, where, after, limit, sight)
        return Page([(key, unpack_row(row)) for key, row in rows], rest)

    def scan_packed(
        self,
        table: int,
        prefix: bytes = b"",
        where: Sequence[tuple[int, bytes]] = _NO_INDEX,
        after: bytes | None = None,
        limit: int = 1_000,
        sight: Sight | None = None,
    ) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        """As `scan`, its rows still packed, for who looks into few of many; see `unpack_row`."""
        with _DOOR:
            return self.core.scan(table, prefix, where, after, limit, sight)

    def scan_json(
        self,
        shape: Shape,
        prefix: bytes = b"",
        where: Sequence[tuple[int, bytes]] = _NO_INDEX,
        after: bytes | None = None,
        limit: int = 1_000,
        sight: Sight | None = None,
    ) -> JsonPage:
        """As `scan`, written as JSON by the core."""
        with _DOOR:
            return JsonPage(*self.core.scan_json(shape, prefix, where, after, limit, sight))

    def keys_json(
        self,
        table: int,
        prefix: bytes = b"",
        separator: bytes = b"",
        after: bytes | None = None,
        limit: int = 1_000,
        sight: Sight | None = None,
        inside: bool = False,
    ) -> JsonPage:
        """Keys with `prefix`; with a `separator`, cut after its first occurrence past it and listed once."""
        with _DOOR:
            page = self.core.keys_json(table, prefix, separator, after, limit, sight, inside)
            return JsonPage(*page)

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

    async def _answer(self, submit: Callable[..., int], *given: Any) -> Completion:
        with _DOOR:
            ticket = submit(*given)
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
                if future is None:
                    if completion[0] == _SAYS:
                        self._hear(completion[1])
                elif not future.done():
                    future.set_result(completion)
            if len(completions) < _REAP_LIMIT:
                return

    def _hear(self, what: int) -> None:
        if what == _CALL_WAITS:
            self._answering.take()
        elif what == _WATCH_WAITS and self.on_watched is not None:
            self.on_watched(self.core.watched(_WATCHED_LIMIT))

    def _tell(self, call_id: int, status: int, answer: bytes) -> None:
        with _DOOR:
            self.core.answer(call_id, status, answer)
