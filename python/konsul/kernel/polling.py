"""Long-polls: a read that waits until what it reads has changed.

`?index=` is an `X-Konsul-Index` the client was given. The read is answered at once if something it would show
may have changed since, else when that happens, else as things are when `?wait=` is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import Depends, Query, Request
from starlette.requests import ClientDisconnect

from konsul.errors import Invalid, Unsupported
from konsul.kernel.context import Context
from konsul.kernel.parameters import positive_duration_ms, u64
from konsul.kernel.reading import settle_again
from konsul.kernel.watch_settings import WatchSettings
from konsul.kernel.watching import Spec

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

WAIT_MS: Final = 300_000
WAIT_MAX_MS: Final = 600_000
NAMES: Final = frozenset(("index", "wait"))
"""The query parameters of this file."""
BAD_INDEX: Final = "Invalid index parameter: expected an unsigned 64-bit integer"
BAD_WAIT: Final = "Invalid wait parameter: expected a duration over zero, up to 10m"
OFF: Final = "long-polls are off on this node: KONSUL_WATCH_ENABLED is false"

Index = Annotated[
    str | None,
    Query(description="Wait until something changed above this `X-Konsul-Index`.", examples=["17"]),
]
Wait = Annotated[
    str | None, Query(description="With `index`: how long, at most `10m`; without it `5m`.", examples=["30s"])
]


@dataclass(frozen=True, slots=True)
class Poll:
    """How a read wants to wait; `index` None: it does not."""

    request: Request
    index: int | None
    wait_ms: int

    async def wait(self, ctx: Context, spec_of: Callable[[str], Spec], text: str) -> Context:
        """Returns when the read of what `spec_of(text)` watches should be made, as fresh as it was asked for,
        and by whom: roles and policies may be others by then.

        Raises:
            Invalid: nothing can have that name. Unsupported: change streams are off.
            TooMany: this client waits for too much already. Forbidden: it may not see this.
            Unauthenticated: its credentials have ended.
            Stopping. ClientDisconnect: nobody waits any more.
        """
        if self.index is None:
            return ctx
        if not ctx.config.of(WatchSettings).enabled:
            raise Unsupported(OFF)
        spec = spec_of(text)
        if self.index == 0:
            return ctx
        kernel: Kernel = self.request.app.state.kernel
        changed = asyncio.ensure_future(kernel.watching.changed(ctx, spec, self.index, self.wait_ms))
        gone = asyncio.ensure_future(_gone(self.request))
        try:
            await asyncio.wait((changed, gone), return_when=asyncio.FIRST_COMPLETED)
            if not changed.done():
                raise ClientDisconnect
            changed.result()
        finally:
            changed.cancel()
            gone.cancel()
        return await settle_again(ctx)


async def poll(request: Request, index: Index = None, wait: Wait = None) -> Poll:
    """The request's Poll. Raises Invalid for parameters that cannot be understood."""
    # A coroutine although it awaits nothing: FastAPI would send a plain function to a thread and back.
    wait_ms = positive_duration_ms(wait, BAD_WAIT) or WAIT_MS
    if wait_ms > WAIT_MAX_MS:
        raise Invalid(BAD_WAIT)
    return Poll(request, u64(index, BAD_INDEX), wait_ms)


Polling = Annotated[Poll, Depends(poll)]
"""Annotate a parameter of an endpoint that can wait with it."""


async def _gone(request: Request) -> None:
    """Returns when the client has given up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
