"""What the front asks of those around it, as types."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Protocol, TypeAlias, TypedDict

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Scope: TypeAlias = MutableMapping[str, Any]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Completion: TypeAlias = tuple[int, int, int, int, bytes]
Headers: TypeAlias = list[tuple[bytes, bytes]]


class NativeCore(Protocol):
    """What the front calls of `konsul._core.Core`."""

    def commit(self, cases: bytes, timeout_ms: int, request_id: bytes | None = None) -> int: ...
    def put(
        self,
        table: int,
        key: bytes,
        cells: bytes,
        at: int | None,
        timeout_ms: int,
        request_id: bytes | None = None,
    ) -> int: ...
    def barrier(self, consistency: str, timeout_ms: int) -> int: ...
    def is_current(self) -> bool: ...
    def contact(self) -> tuple[bool, int, int]: ...
    def renew(self, table: int, key: bytes, timeout_ms: int) -> int: ...
    def get(self, table: int, key: bytes) -> bytes | None: ...
    def get_json(self, shape: Any, key: bytes) -> bytes | None: ...


class NativeRequest(Protocol):
    """What the front calls of `konsul._core.HttpRequest`. A callback gets a piece (None: the client is gone)
    and whether more follows."""

    def take_body(self) -> bytes | None: ...
    def read(self, callback: Callable[[bytes | None, bool], object]) -> None: ...
    def wait(self, callback: Callable[[bytes | None, bool], object]) -> None: ...
    def give_up(self) -> None: ...
    def answer(self, status: int, headers: Headers, body: bytes) -> bool: ...
    def begin(self, status: int, headers: Headers) -> bool: ...
    def push(self, body: bytes, callback: Callable[[bytes | None, bool], object]) -> bool: ...
    def end(self) -> None: ...
    def finish(self) -> None: ...
    def sse(self, status: int, headers: Headers, user: Any) -> Any: ...
    def websocket(
        self, user: Any, subprotocol: str | None, headers: Headers, max_message_bytes: int
    ) -> Any: ...


class Admission(TypedDict):
    """Who is let in. Paths are compared with the one that routes see; a prefix ends with a slash."""

    anonymous: Any
    """The identity of whoever brings no credentials."""
    unauthenticated: Callable[[str], Exception]
    class_of: Callable[[str, str], str]
    """(method, path) -> the route class that the limit slot is told."""
    client_of: Callable[[str, bytes], str] | None
    """(address of the peer, its X-Forwarded-For) -> the client's address. None: no proxy is trusted."""
    requires_auth: bool
    public_paths: Iterable[str]
    public_prefixes: Iterable[str]
    public_routes: Iterable[tuple[str, str]]
    """(GET or POST, path) of what anybody may ask, whatever is configured."""
    staying_paths: Iterable[str]
    staying_prefixes: Iterable[str]
    """Watches: a GET of one may bring its token in the query."""
    probes: Iterable[str]
    """What is never limited: who asks whether the node lives must hear."""
    unrecorded: Iterable[str]
    """What needs no room in the audit log where it is public."""
    asking: Iterable[str]
    """WebSockets that ask for credentials themselves."""


class Audit(Protocol):
    """As `konsul.kernel.pipeline.Audit`."""

    def admits(self) -> bool: ...
    def record(self, identity: Any, client: str, verb: str, *args: Any, **kwargs: Any) -> None: ...


class Tally(Protocol):
    """Where a verb that is counted per resource is counted; called on the event loop."""

    def add(self, verb: str, outcome: str, resource: str = "") -> None: ...


class RouteSeries(TypedDict):
    """Requests of one route template, method and status."""

    route: str
    method: str
    status: int
    count: int
    sum_seconds: float
    buckets: list[int]


class Snapshot(TypedDict):
    """Counters since start. `buckets` are cumulative, one for each of `bucket_bounds` (seconds), without
    +Inf.

    `operations`: (verb, outcome, count) of what native routes did; the application counts its own.
    """

    in_flight: int
    bucket_bounds: list[float]
    requests: list[RouteSeries]
    operations: list[tuple[str, str, int]]
    series_dropped: int
    log_lines: int
    log_lines_dropped: int
