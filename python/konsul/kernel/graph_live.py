"""A subscription's events: a watch, told as objects of the schema."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from konsul.errors import Invalid
from konsul.kernel.graph import Compacted
from konsul.kernel.watch_readers import Behind, Event, Events
from konsul.kernel.watch_readers import Compacted as Lost

if TYPE_CHECKING:
    from konsul.kernel.asking import Asking
    from konsul.kernel.watch_spec import Spec

T = TypeVar("T")


class Live(AsyncGenerator[T, None]):
    """Opened when made. Not an async generator function: one that is closed before its first event would
    never reach its `finally`, and the watch would stay open."""

    def __init__(self, asking: Asking, events: Events, told: Callable[[Event, int], Iterable[T]]) -> None:
        self._asking = asking
        self._events = events
        self._told = told
        self._ready: deque[T] = deque()
        self._closed = False

    def first(self, item: T) -> None:
        """Tells this before anything else."""
        self._ready.append(item)

    async def __anext__(self) -> T:
        """The next event.

        Raises:
            Compacted: some may be missing from here on. KonsulError: what ended the watch.
            StopAsyncIteration: it was closed, or one of these was raised before.
        """
        while not self._ready:
            if self._closed:
                raise StopAsyncIteration
            try:
                seen = await anext(self._events)
            except BaseException:
                self.close()
                raise
            if isinstance(seen, Lost):
                self.close()
                raise Compacted(seen.index)
            # Being behind loses nothing: what was missed follows, or the watch says that it cannot.
            if not isinstance(seen, Behind):
                # Changes of one entry share its index: before the last, going on means from before the entry.
                resume = seen.index if self._events.position >= seen.index else seen.index - 1
                self._ready.extend(self._told(seen, resume))
        self._asking.forget()
        return self._ready.popleft()

    async def asend(self, value: None) -> T:
        """As `__anext__`."""
        del value
        return await self.__anext__()

    async def athrow(
        self,
        typ: type[BaseException] | BaseException,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
    ) -> T:
        """Ends it with the error."""
        del val, tb
        self.close()
        raise typ

    async def aclose(self) -> None:
        """Ends it."""
        self.close()

    def close(self) -> None:
        """As `aclose`. Again: does nothing."""
        self._closed = True
        self._ready.clear()
        self._events.watch.close()

    def __del__(self) -> None:
        # Whoever is cancelled before the first event has nothing to close yet but this.
        self.close()


def subscribe(
    asking: Asking, spec: Spec, told: Callable[[Event, int], Iterable[T]], since: int | None = None
) -> Live[T]:
    """The changes that `spec` describes, each as what `told` makes of it: nothing, one event or several.

    `told` gets the change and the index from which a client that saw it goes on. `since`: first what changed
    above that index.

    Raises:
        As `Watching.open`: Forbidden, Unauthenticated, TooMany, Invalid, Unsupported, Stopping.
    """
    if not isinstance(since, int):
        since = None
    if not spec.pattern:
        raise Invalid("pattern must not be empty")
    wanted = spec if asking.buffer is None else replace(spec, buffer=asking.buffer)
    watching = asking.kernel.watching
    return Live(asking, watching.events(asking.context, wanted, since, transport=asking.transport), told)
