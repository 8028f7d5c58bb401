"""What a request for a connection that stays asks for, and on whose behalf: the same for both kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import Query
from starlette.requests import HTTPConnection

from konsul.errors import Invalid, Unsupported
from konsul.kernel.context import Context
from konsul.kernel.parameters import u64
from konsul.kernel.pipeline import Identity
from konsul.kernel.watch_settings import WatchSettings

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

PATTERN_MAX_BYTES: Final = 1_024
"""As the core: as long as the longest key."""
OFF: Final = "change streams are off on this node: KONSUL_WATCH_ENABLED is false"
BAD_SINCE: Final = "Invalid since parameter: expected an unsigned 64-bit integer"
BAD_LAST_ID: Final = "Invalid Last-Event-ID header: expected an unsigned 64-bit integer"

Since = Annotated[
    str | None,
    Query(description="First everything that changed above this index; `Last-Event-ID` outdoes it."),
]
Coalesce = Annotated[
    str | None, Query(description="On: of the changes of a key that wait to be told, only the newest.")
]
Progress = Annotated[
    str | None, Query(description="On: a WebSocket's signs of life say how far the client is.")
]
Heartbeats = Annotated[str | None, Query(description="On: also renewed leases, as far as this node hears.")]
Token = Annotated[str | None, Query(description="A bearer token, where no header can be sent.")]


def kernel_of(connection: HTTPConnection) -> Kernel:
    """The node behind the connection."""
    kernel: Kernel = connection.app.state.kernel
    return kernel


def context_of(connection: HTTPConnection) -> Context:
    """Who asks, from what the front put into the scope.

    Raises:
        Unsupported: change streams are off.
    """
    kernel = kernel_of(connection)
    if not kernel.config.of(WatchSettings).enabled:
        raise Unsupported(OFF)
    return Context.within(kernel, connection.scope.get("konsul", {}))


def identity_of(kernel: Kernel, token: str) -> Identity:
    """Who has this bearer token. Raises Unauthenticated for one that does not hold."""
    return kernel.pipeline.identify(b"Bearer " + token.encode("utf-8", "surrogatepass"), None, None)


@dataclass(frozen=True, slots=True)
class Asked:
    """The parameters every watch takes."""

    since: int | None
    coalesce: bool
    progress: bool
    heartbeats: bool


def asked_of(connection: HTTPConnection) -> Asked:
    """What the query and the headers say.

    Raises:
        Invalid: one of them cannot be understood.
    """
    query = connection.query_params
    since = u64(query.get("since") or None, BAD_SINCE)
    last_id = u64(connection.headers.get("last-event-id") or None, BAD_LAST_ID)
    return Asked(
        since=last_id if last_id is not None else since,
        coalesce=_switch(connection, "coalesce"),
        progress=_switch(connection, "progress"),
        heartbeats=_switch(connection, "heartbeats"),
    )


def _switch(connection: HTTPConnection, name: str) -> bool:
    text = connection.query_params.get(name)
    if text not in (None, "", "true", "false"):
        raise Invalid(f"Invalid {name} parameter: expected true or false")
    return text in ("", "true")


def pattern_of(connection: HTTPConnection) -> str:
    """The pattern in the path, else in `key=`, else `*`. Clients that escape twice are understood.

    Raises:
        Invalid: it is too long, or no key can match it.
    """
    pattern = connection.path_params.get("pattern") or connection.query_params.get("key") or "*"
    lower = pattern.lower()
    if "%2f" in lower or "%2a" in lower:
        pattern = _decoded_again(pattern)
    check_pattern(pattern)
    return pattern


def check_pattern(pattern: str) -> None:
    """Raises Invalid for a pattern that is empty, too long, or holds what no key can."""
    if not pattern:
        raise Invalid("the pattern is empty")
    if "\0" in pattern:
        raise Invalid("a pattern must not contain NUL")
    size = len(pattern.encode())
    if size > PATTERN_MAX_BYTES:
        raise Invalid(f"pattern too long: {size} bytes (max {PATTERN_MAX_BYTES})")


def _decoded_again(pattern: str) -> str:
    from urllib.parse import unquote_to_bytes

    try:
        return unquote_to_bytes(pattern).decode()
    except UnicodeDecodeError:
        raise Invalid("the pattern is not percent-encoded UTF-8") from None
