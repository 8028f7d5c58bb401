"""Back-pressure: whether there is room on a connection, and the wait until there is."""

from __future__ import annotations

import asyncio


class Room:
    """Open until it is closed; those who wait go on when it is opened again. Holds nothing while open."""

    __slots__ = ("_closed", "since_s")

    def __init__(self) -> None:
        self._closed: asyncio.Event | None = None
        self.since_s = 0.0
        """Loop time since which it is closed; 0 while it is open."""

    def close(self) -> None:
        """The client does not read as fast as it is told."""
        if self._closed is None:
            self._closed = asyncio.Event()
            self.since_s = asyncio.get_running_loop().time()

    def open(self) -> None:
        """It has read."""
        closed, self._closed, self.since_s = self._closed, None, 0.0
        if closed is not None:
            closed.set()

    async def wait(self) -> None:
        """Returns when there is room."""
        while self._closed is not None:
            await self._closed.wait()
