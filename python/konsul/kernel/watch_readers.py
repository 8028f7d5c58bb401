"""What a watch sees, read by one coroutine: one after the other, or only that there is something."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from konsul.errors import KonsulError

if TYPE_CHECKING:
    from konsul.kernel.watch_spec import Sink
    from konsul.kernel.watching import Watch

_READ_MAX: Final = 64
"""Read ahead by so many, the watch is paused until the reader has caught up."""
_READ_LOW: Final = 16


class Event(NamedTuple):
    """A change: its index, its key, its JSON text."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    key: bytes
    payload: bytes


class Behind(NamedTuple):
    """The reader was too slow; what it missed follows, from `index` on."""

    index: int  # type: ignore[assignment]  # as above


class Compacted(NamedTuple):
    """Changes up to `index` may be missing: list again."""

    index: int  # type: ignore[assignment]  # as above


Seen: TypeAlias = "Event | Behind | Compacted"


class First:
    """Ends a wait with the first thing there is to tell."""

    def __init__(self, changed: asyncio.Future[bool]) -> None:
        self._changed = changed

    def event(self, index: int, key: bytes, payload: bytes) -> bool:  # noqa: ARG002 - the protocol's
        self._wake()
        return True

    def behind(self, index: int) -> None:  # noqa: ARG002 - the protocol's
        self._wake()

    def compacted(self, index: int) -> None:  # noqa: ARG002 - the protocol's
        self._wake()

    def ended(self, error: KonsulError) -> None:
        if not self._changed.done():
            self._changed.set_exception(error)

    def _wake(self) -> None:
        if not self._changed.done():
            self._changed.set_result(True)


class Events:
    """What a watch sees, as an asynchronous iterator for one reader. Ends with the error that ended it."""

    def __init__(self, open_with: Callable[[Sink], Watch]) -> None:
        self._seen: deque[Seen] = deque()
        self._error: KonsulError | None = None
        self._waiting: asyncio.Future[None] | None = None
        self.watch = open_with(self)

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> Seen:
        while not self._seen:
            if self._error is not None:
                raise self._error
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        seen = self._seen.popleft()
        if self.watch.held and len(self._seen) <= _READ_LOW:
            self.watch.resume()
        return seen

    @property
    def position(self) -> int:
        """Every change up to this index that concerns the watch was read."""
        told = self.watch.position
        return min(told, self._seen[0].index - 1) if self._seen else told

    async def aclose(self) -> None:
        """Closes the watch; nothing more is to be read."""
        self.watch.close()

    def event(self, index: int, key: bytes, payload: bytes) -> bool:
        """See `Sink`."""
        self._take(Event(index, key, payload))
        return len(self._seen) < _READ_MAX

    def behind(self, index: int) -> None:
        """See `Sink`."""
        self._take(Behind(index))

    def compacted(self, index: int) -> None:
        """See `Sink`."""
        self._take(Compacted(index))

    def ended(self, error: KonsulError) -> None:
        """See `Sink`."""
        self._error = error
        self._wake()

    def _take(self, seen: Seen) -> None:
        self._seen.append(seen)
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
