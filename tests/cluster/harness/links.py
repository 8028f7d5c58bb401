"""The network between nodes: every peer connection runs through here, and can be cut, slowed and broken.

A node is dialed at a port of ours, which passes bytes on to where it really listens. Who dialed is asked
of the kernel, so each direction between two nodes has a link of its own. A cut link holds bytes back, as
a network does whose packets are lost and sent again: what was under way arrives after the healing, or
never when the connection was given up meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

CHUNK_BYTES = 64 << 10
SETTLING_TURNS = 10
UNDER_WAY_MAX = 64
"""Chunks of one connection that a slow or cut link holds before it stops taking more."""
OUTSIDE = "outside"
"""Who dials and is no node."""
CONTROL_S = 30.0


@dataclass(eq=False)
class Link:
    """One direction between two nodes. Changed only through `Links`."""

    source: str
    destination: str
    delay_s: float = 0.0
    bytes_per_s: float = 0.0
    """0: as fast as the machine."""
    open: asyncio.Event = field(default_factory=asyncio.Event)
    passed_bytes: int = 0
    free_at: float = 0.0
    """When the bytes already sent at `bytes_per_s` will have passed, on the loop's clock."""

    async def pass_on(self, chunk: bytes, arrived: float) -> None:
        """Returns when `chunk` has crossed the link."""
        loop = asyncio.get_running_loop()
        begin = max(arrived, self.free_at)
        self.free_at = begin + len(chunk) / self.bytes_per_s if self.bytes_per_s else begin
        await _until(loop, self.free_at + self.delay_s)
        await self.open.wait()
        self.passed_bytes += len(chunk)


async def _until(loop: asyncio.AbstractEventLoop, moment: float) -> None:
    if moment <= loop.time():
        return
    reached = loop.create_future()
    handle = loop.call_at(moment, reached.set_result, None)
    try:
        await reached
    finally:
        handle.cancel()


@dataclass(eq=False)
class _Connection:
    dialer: str
    acceptor: str
    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]

    def between(self, one: str, other: str) -> bool:
        return {self.dialer, self.acceptor} == {one, other}

    def abort(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


class Links:
    """Every link of one cluster. Its threads and ports are gone when it is closed.

    `who_dials(client_port, our_port)` names the node whose connection it is, None for nobody known.
    """

    def __init__(self, who_dials: Callable[[int, int], str | None]) -> None:
        self._who_dials = who_dials
        self._links: dict[tuple[str, str], Link] = {}
        self._targets: dict[str, int] = {}
        self._servers: dict[str, asyncio.Server] = {}
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def listen(self, name: str, target_port: int) -> int:
        """The port at which others dial `name`, which itself listens at `target_port`."""
        return self._run(self._listen(name, target_port))

    def cut(self, source: str, destination: str) -> None:
        """From now on nothing passes from `source` to `destination`; the other way stays."""
        self._call(lambda: self._link(source, destination).open.clear())

    def part(self, one_side: Iterable[str], other_side: Iterable[str]) -> None:
        """Nothing passes between the two sides, either way."""
        others = list(other_side)
        for one in one_side:
            for other in others:
                self.cut(one, other)
                self.cut(other, one)

    def slow(self, source: str, destination: str, *, delay_s: float = 0.0, bytes_per_s: float = 0.0) -> None:
        """Gives one direction a delay and a rate; zeros take them away."""

        def change() -> None:
            link = self._link(source, destination)
            link.delay_s, link.bytes_per_s, link.free_at = delay_s, bytes_per_s, 0.0

        self._call(change)

    def reset(self, one: str, other: str) -> int:
        """Breaks every connection between two nodes; returns how many there were."""

        def change() -> int:
            found = [each for each in self._connections if each.between(one, other)]
            for each in found:
                each.abort()
            return len(found)

        return self._call(change)

    def heal(self) -> None:
        """Every link is open and fast again."""

        def change() -> None:
            for link in self._links.values():
                link.delay_s = link.bytes_per_s = link.free_at = 0.0
                link.open.set()

        self._call(change)

    def passed_bytes(self, source: str, destination: str) -> int:
        """How much crossed one direction so far."""
        return self._call(lambda: self._link(source, destination).passed_bytes)

    def connections(self, one: str, other: str) -> int:
        """How many connections there are between two nodes now."""
        return self._call(lambda: sum(each.between(one, other) for each in self._connections))

    def close(self) -> None:
        """Breaks every connection and ends the thread."""
        if self._loop.is_closed():
            return
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CONTROL_S)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CONTROL_S)

    def _call(self, work: Callable[[], T]) -> T:
        async def on_the_loop() -> T:
            return work()

        return self._run(on_the_loop())

    def _link(self, source: str, destination: str) -> Link:
        link = self._links.get((source, destination))
        if link is None:
            link = self._links[source, destination] = Link(source, destination)
            link.open.set()
        return link

    async def _listen(self, name: str, target_port: int) -> int:
        self._targets[name] = target_port
        server = self._servers.get(name)
        if server is None:
            server = await asyncio.start_server(
                lambda reader, writer: self._accepted(name, reader, writer), "127.0.0.1", 0, backlog=256
            )
            self._servers[name] = server
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def _accepted(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        client_port: int = writer.get_extra_info("peername")[1]
        our_port: int = writer.get_extra_info("sockname")[1]
        dialer = self._who_dials(client_port, our_port) or OUTSIDE
        try:
            # A connection begins with packets both ways: while either way is cut it does not come about.
            await self._link(dialer, name).open.wait()
            await self._link(name, dialer).open.wait()
            there, back = await asyncio.open_connection("127.0.0.1", self._targets[name])
        except OSError:
            writer.transport.abort()
            return
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        connection = _Connection(dialer, name, (writer, back))
        self._connections.add(connection)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(self._link(dialer, name), reader, back))
                both.create_task(self._pump(self._link(name, dialer), there, writer))
        except* OSError:
            pass
        finally:
            connection.abort()
            self._connections.discard(connection)

    async def _pump(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Moves one direction of a connection over its link, in order. Ends with a reset for both sides."""
        under_way: asyncio.Queue[tuple[bytes, float]] = asyncio.Queue(UNDER_WAY_MAX)
        loop = asyncio.get_running_loop()

        async def take() -> None:
            while chunk := await reader.read(CHUNK_BYTES):
                await under_way.put((chunk, loop.time()))
            await under_way.put((b"", loop.time()))

        async def give() -> None:
            while True:
                chunk, arrived = await under_way.get()
                await link.pass_on(chunk, arrived)
                if not chunk:
                    # Nodes never close one direction only: the end of one is the end of both.
                    raise ConnectionResetError
                writer.write(chunk)
                await writer.drain()

        async with asyncio.TaskGroup() as both:
            both.create_task(take())
            both.create_task(give())

    async def _close(self) -> None:
        for server in self._servers.values():
            for listening in server.sockets:
                self._loop.remove_reader(listening)
        # Who was accepted just now must have begun: a task cancelled before that leaves its socket open, and
        # so does one whose server is closed by then (https://github.com/python/cpython/issues/109564).
        await _settle()
        for server in self._servers.values():
            server.close()
        for connection in list(self._connections):
            connection.abort()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), CONTROL_S / 2)
        # An aborted transport closes its socket in a later turn of the loop, which ends with this one.
        await _settle()


async def _settle() -> None:
    """Lets the loop do what is due."""
    for _ in range(SETTLING_TURNS):
        await asyncio.sleep(0)
