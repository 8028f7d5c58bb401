"""One GraphQL operation under way: what its resolvers get as `info.context`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from konsul.errors import Forbidden, Invalid
from konsul.kernel.graph import BATCH_MAX
from konsul.kernel.reading import Reading, settle

if TYPE_CHECKING:
    from konsul.kernel.command import AnyVerb, Verb
    from konsul.kernel.context import Context
    from konsul.kernel.node import Kernel

K = TypeVar("K")
P = ParamSpec("P")
T = TypeVar("T")

PAGE_MAX: Final = 1_000
"""Most items a list answers unless the door says otherwise."""


@dataclass(slots=True, eq=False, kw_only=True)
class Asking:
    """Made by the door for every operation, and for one only: what was loaded is kept as long as it runs.

    `page_max`: items a list may have. `reading`: how fresh its reads must be. `transport`: the label under
    which its watches are counted. `buffer`: events that may wait for a slow subscriber, None as for watches.
    """

    kernel: Kernel
    context: Context
    page_max: int = PAGE_MAX
    reading: Reading = field(default_factory=Reading)
    transport: str = "graphql"
    buffer: int | None = None
    _loaders: dict[object, Any] = field(default_factory=dict)
    _settled: asyncio.Task[None] | None = None
    _writes: int = 0

    async def run(self, verb: Verb[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `Context.run`. A `Forbidden` leaves it knowing what was needed and for what."""
        with _naming(verb, kwargs):
            return await self.context.run(verb, *args, **kwargs)

    async def write(self, verb: Verb[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `run`, as one of several writes of the operation: each is applied once by itself."""
        self._writes += 1
        context = self.context
        if context.terms.write_id is not None:
            context = context.part(self._writes)
        try:
            with _naming(verb, kwargs):
                return await context.run(verb, *args, **kwargs)
        finally:
            self.forget()

    async def read(self, verb: Verb[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `run`, once the operation's reads may be served. Raises as `reading.settle` too."""
        await self.settle()
        return await self.run(verb, *args, **kwargs)

    async def settle(self) -> None:
        """Waits until the operation's reads are as fresh as it wants: once, however many fields read."""
        if self._settled is None:
            self._settled = asyncio.ensure_future(self._settle())
        if self._settled.done():
            self._settled.result()
        else:
            # One field that is given up must not take the wait away from the others.
            await asyncio.shield(self._settled)

    async def _settle(self) -> None:
        self.context = await settle(self.context, self.reading)

    async def load(
        self, many: Callable[[Asking, Sequence[K]], Awaitable[Sequence[T | BaseException]]], key: K
    ) -> T:
        """What `many` answers for `key`, asked together with the other keys of this turn of the loop.

        `many` gets up to `BATCH_MAX` different keys and answers one value or error for each, in order.
        """
        await self.settle()
        loader = self._loaders.get(many)
        if loader is None:
            loader = self._loaders[many] = self._loader(many)
        value: T = await loader.load(key)
        return value

    def window(self, limit: int | None, offset: int | None) -> tuple[int, int]:
        """Where a list begins and how many items it has: without a limit as many as one may have.

        Raises:
            Invalid: one is negative, or the limit is over `page_max`.
        """
        start = offset or 0
        most = self.page_max if not isinstance(limit, int) else limit
        if start < 0 or most < 0:
            raise Invalid(f"{'offset' if start < 0 else 'limit'} must not be negative")
        if most > self.page_max:
            raise Invalid(f"limit must be at most {self.page_max}: KONSUL_GRAPHQL_MAX_PAGE_SIZE")
        return start, most

    def forget(self) -> None:
        """What was loaded so far may have changed: after a write, and before each event is resolved."""
        self._loaders.clear()

    def _loader(self, many: Callable[[Asking, Sequence[K]], Awaitable[Sequence[T | BaseException]]]) -> Any:
        from strawberry.dataloader import DataLoader

        async def load(keys: list[K]) -> Sequence[T | BaseException]:
            return await many(self, keys)

        return DataLoader(load, max_batch_size=BATCH_MAX)


@contextmanager
def _naming(verb: AnyVerb, kwargs: Mapping[str, object]) -> Iterator[None]:
    try:
        yield
    except Forbidden as error:
        touched = kwargs.get(verb.resource) if verb.resource else None
        # Of several it is not known here which one was refused; whoever asks for them asks again one by one.
        several = [touched] if isinstance(touched, str) else touched
        only = several[0] if isinstance(several, list) and len(several) == 1 else ""
        error.name(verb.needs, str(only))
        raise
