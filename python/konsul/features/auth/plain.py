"""What the routes of administration share: there while auth is on, refusing as `{"error": text}`."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, ParamSpec, TypeVar

from fastapi import Depends, Query, Response
from starlette.exceptions import HTTPException

from konsul.errors import (
    Blocked,
    DiskFull,
    Forbidden,
    Invalid,
    KonsulError,
    NoLeader,
    RateLimited,
    Unauthenticated,
)
from konsul.kernel.context import Context
from konsul.kernel.guard_settings import GuardSettings
from konsul.kernel.parameters import u64
from konsul.kernel.reading import ReadCtx
from konsul.kernel.routing import Ctx, json_response

P = ParamSpec("P")
T = TypeVar("T")
INVALID_BODY: Final = "invalid request body"
PAGE_MAX: Final = 1_000
"""Users or keys in one answer."""
SAME_EVERYWHERE: Final = (Unauthenticated, Forbidden, RateLimited, Blocked, NoLeader, DiskFull)
"""What the door answers in one shape on every route."""


async def _gate(ctx: Ctx) -> Context:
    """Raises HTTPException 404 while auth is off: then there are no such routes."""
    # A coroutine although it awaits nothing: FastAPI would send a plain function to a thread and back.
    if not ctx.config.of(GuardSettings).auth_enabled:
        raise HTTPException(404)
    return ctx


async def _gate_read(ctx: ReadCtx) -> Context:
    """As `_gate`, for what reads the tables."""
    return await _gate(ctx)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of them, by id, and the id to continue after; None at the end."""

    items: tuple[T, ...]
    after: str | None


AuthCtx = Annotated[Context, Depends(_gate)]
AuthReadCtx = Annotated[Context, Depends(_gate_read)]
After = Annotated[str | None, Query(description="Only ids above this one.")]
Limit = Annotated[str | None, Query(description="At most so many, 1000 by default.")]


def plain_refusals(endpoint: Callable[P, Awaitable[Response]]) -> Callable[P, Awaitable[Response]]:
    """Makes an endpoint answer in this shape what its verbs refuse, and keeps its answers out of caches."""

    @functools.wraps(endpoint)
    async def answered(*args: P.args, **kwargs: P.kwargs) -> Response:
        try:
            response = await endpoint(*args, **kwargs)
        except SAME_EVERYWHERE:
            raise
        except KonsulError as error:
            if error.http_status == 500:
                raise
            response = json_response({"error": str(error)}, error.http_status)
            if error.http_status == 503:
                response.headers["retry-after"] = "1"
        response.headers["cache-control"] = "no-store"
        return response

    return answered


def page_limit(text: str | None) -> int:
    """How many at once. Raises Invalid for anything but 1 to `PAGE_MAX`."""
    problem = f"Invalid limit parameter: expected 1 to {PAGE_MAX}"
    limit = u64(text, problem)
    if limit is None:
        return PAGE_MAX
    if not 1 <= limit <= PAGE_MAX:
        raise Invalid(problem)
    return limit


def listed(page: Page[T], name: str, document: Callable[[T], dict[str, Any]]) -> Response:
    """The answer of a list; `after` is there when there are more."""
    found = {"count": len(page.items), name: [document(one) for one in page.items]}
    return json_response(found | ({"after": page.after} if page.after is not None else {}))


class OneKind:
    """An optional member of exactly one JSON type; see `konsul.kernel.routing.Kind`."""

    empty: Final = None

    def __init__(self, accepted: type) -> None:
        self._accepted = accepted

    def __call__(self, value: object) -> Any:
        """Raises ValueError for any other type; JSON true is no integer."""
        if type(value) is not self._accepted:
            raise ValueError
        return value


MAYBE_BOOL: Final = OneKind(bool)
MAYBE_INT: Final = OneKind(int)
