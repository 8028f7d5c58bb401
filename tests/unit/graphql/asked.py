"""A node with every feature and the schema over it, asked without a transport."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import strawberry

from konsul.doors.graphql.schema import build
from konsul.engine import Engine, Options
from konsul.features import FEATURES
from konsul.kernel import settings
from konsul.kernel.asking import Asking
from konsul.kernel.config import load
from konsul.kernel.context import Context
from konsul.kernel.feature import load_all
from konsul.kernel.node import Kernel
from konsul.kernel.pipeline import ANONYMOUS, Identity
from konsul.kernel.writing import PLAIN_TERMS, Terms
from tests.waiting import until_async

DEADLINE_S = 30


@functools.cache
def schema() -> strawberry.Schema:
    """The schema of every feature, built once."""
    return build(load_all(FEATURES))


@dataclass(slots=True, eq=False)
class Asked:
    """Asks the node; `page_max` and the rest as in `Asking`."""

    kernel: Kernel
    page_max: int = 1_000
    identity: Identity = ANONYMOUS
    terms: Terms = PLAIN_TERMS
    buffer: int | None = None
    noted: dict[str, Any] = field(default_factory=dict)

    def asking(self) -> Asking:
        """One operation."""
        context = Context(
            engine=self.kernel.engine,
            config=self.kernel.config,
            identity=self.identity,
            request_id="req-1",
            client_addr="192.0.2.1",
            pipeline=self.kernel.pipeline,
            terms=self.terms,
            noted=self.noted,
        )
        return Asking(kernel=self.kernel, context=context, page_max=self.page_max, buffer=self.buffer)

    async def __call__(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an operation without errors."""
        data, errors = await self.both(query, **variables)
        assert errors == [], errors
        assert isinstance(data, dict)
        return data

    async def both(self, query: str, **variables: Any) -> tuple[Any, list[dict[str, Any]]]:
        """Data and errors, as a client sees them."""
        result = await schema().execute(query, variables, self.asking())
        return result.data, [dict(error.formatted) for error in result.errors or ()]

    async def refused(self, query: str, **variables: Any) -> tuple[str, str]:
        """`(code, message)` of an operation with one error."""
        _, errors = await self.both(query, **variables)
        assert len(errors) == 1, errors
        return errors[0]["extensions"]["code"], errors[0]["message"]

    @asynccontextmanager
    async def live(self, query: str, **variables: Any) -> AsyncIterator[Live]:
        """A subscription that is open, closed at the end."""
        stream: Any = await schema().subscribe(query, variables, self.asking())
        live = Live(stream)
        opened = self.kernel.watching.counters.opened
        before = sum(opened.values())
        live.begin()
        try:
            await until_async(
                lambda: sum(opened.values()) > before or live.is_answered(), "the subscription to open"
            )
            yield live
        finally:
            live.give_up()
            await live.over()

    async def refused_live(self, query: str, **variables: Any) -> tuple[str, str]:
        """`(code, message)` of a subscription that cannot be opened."""
        async with self.live(query, **variables) as live:
            return await live.refused()


class Live:
    """What a subscription answers."""

    def __init__(self, stream: AsyncGenerator[Any, None]) -> None:
        self._stream = stream
        self._next: asyncio.Task[Any] | None = None

    def begin(self) -> None:
        """Asks for the first answer, which opens the subscription."""
        self._next = asyncio.ensure_future(self._answer())

    def is_answered(self) -> bool:
        """True when the first answer is there."""
        return self._next is not None and self._next.done()

    def nothing_waits(self) -> bool:
        """True when no further event is on its way: every write was answered before."""
        self.begin()
        return not self.is_answered()

    def give_up(self) -> None:
        """Cancels whoever waits for an answer."""
        if self._next is not None:
            self._next.cancel()

    async def over(self) -> None:
        """Closes it."""
        if self._next is not None:
            await asyncio.gather(self._next, return_exceptions=True)
        await self._stream.aclose()

    async def _answer(self) -> Any:
        return await anext(self._stream, None)

    async def both(self) -> tuple[Any, list[dict[str, Any]]] | None:
        """Data and errors of the next answer; None at the end."""
        async with asyncio.timeout(DEADLINE_S):
            found = await (self._next or self._answer())
        self._next = None
        if found is None:
            return None
        return found.data, [dict(error.formatted) for error in found.errors or ()]

    async def event(self) -> Any:
        """The next event: the value of the only field."""
        found = await self.both()
        assert found is not None
        data, errors = found
        assert errors == [], errors
        (value,) = data.values()
        return value

    async def events(self, number: int) -> list[Any]:
        """The next so many."""
        return [await self.event() for _ in range(number)]

    async def refused(self) -> tuple[str, str]:
        """`(code, message)` of the error that is the next answer, after which there is nothing."""
        found = await self.both()
        assert found is not None
        assert len(found[1]) == 1, found
        assert await self.both() is None
        return found[1][0]["extensions"]["code"], found[1][0]["message"]


@asynccontextmanager
async def node(data_dir: Path, *, ring_entries: int = 65_536, **environ: str) -> AsyncIterator[Asked]:
    """A node in memory mode that remembers so many changes, stopped at the end."""
    features = load_all(FEATURES)
    groups = [*settings.GROUPS, *(each.config for each in features if each.config is not None)]
    config = load(groups, environ=environ)
    options = Options(data_dir=str(data_dir), backend="memory", watch_ring_entries=ring_entries)
    kernel = Kernel(Engine(options), config, features)
    await kernel.start()
    try:
        yield Asked(kernel)
    finally:
        await kernel.stop(1_000)


def story(tell: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs it, with a deadline."""

    async def timed() -> None:
        async with asyncio.timeout(60):
            await tell()

    asyncio.run(timed())
