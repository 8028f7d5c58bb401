"""The front: one ASGI callable for every request. Compiled from `front.pyx`; this file is its typed contract."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Literal, Protocol, TypedDict, final

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

class NativeCore(Protocol):
    """What the front calls of `konsul._core.Core`."""

    def commit(self, cases: bytes, timeout_ms: int) -> int: ...
    def put(self, table: int, key: bytes, cells: bytes, at: int | None, timeout_ms: int) -> int: ...
    def renew(self, table: int, key: bytes, timeout_ms: int) -> int: ...
    def get(self, table: int, key: bytes) -> bytes | None: ...
    def get_json(self, shape: Any, key: bytes) -> bytes | None: ...

class Verdict(Protocol):
    """A refusal of a pipeline slot: the whole answer."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

Identify = Callable[[MutableMapping[str, Any]], Any]
"""scope -> identity (any object; put into `scope["konsul"]`), or a Verdict to refuse."""
Limit = Callable[[MutableMapping[str, Any], Any], Verdict | None]
"""(scope, identity) -> None to go on."""
Authorise = Callable[[Any, str, str, str], Verdict | None]
"""(identity, "kv" | "service", "read" | "write" | "delete" | ..., resource) -> None to go on. Asked for native routes
only: the application asks for its own."""
Audit = Callable[[MutableMapping[str, Any], Any, int], None]
"""(scope, identity, status), after the answer of a native route."""

class RouteSeries(TypedDict):
    route: str
    method: str
    status: int
    count: int
    sum_seconds: float
    buckets: list[int]

class Snapshot(TypedDict):
    """Counters since start. `buckets` are cumulative counts for `bucket_bounds` (seconds), without +Inf (= count)."""

    in_flight: int
    bucket_bounds: list[float]
    requests: list[RouteSeries]
    operations: list[tuple[str, str, int]]
    series_dropped: int
    log_lines: int
    log_lines_dropped: int

@final
class Front:
    """The ASGI callable given to the HTTP server.

    `core`, `waiting`: of `konsul.engine.Engine`. `app`: the FastAPI application behind the front; it finds
    `scope["path"]` decoded, `/v1` and trailing slashes stripped, and `scope["konsul"]` = {"request_id": str, "identity": object,
    "client": str, "route": None}; the application sets `route` to its route template for the metrics.
    `shapes`: name -> compiled `Shape`: "kv", "kv_metadata", "service"; a route whose shape is missing goes to `app`.
    `ready`: None, or a callable that says whether this node is ready to serve.
    """

    def __init__(
        self,
        core: NativeCore,
        waiting: dict[int, asyncio.Future[tuple[int, int, int, int, bytes]]],
        app: App,
        *,
        shapes: Mapping[str, Any] | None = None,
        kv_table: int = 1,
        service_table: int = 2,
        max_head_bytes: int = 4096,
        max_body_bytes: int = 4_194_304,
        max_value_bytes: int = 524_288,
        max_key_bytes: int = 1024,
        body_timeout_ms: int = 30_000,
        write_timeout_ms: int = 5_000,
        access_log: Literal["all", "errors", "off"] = "all",
        log_format: Literal["json", "text"] = "json",
        log_fd: int = 2,
        log_buffer_bytes: int = 4_194_304,
        ready: Callable[[], bool] | None = None,
        identify: Identify | None = None,
        limit: Limit | None = None,
        authorise: Authorise | None = None,
        audit: Audit | None = None,
    ) -> None: ...
    def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> Awaitable[None]: ...
    def start(self) -> None:
        """Starts the log writer thread and the sweeper that ends slow bodies. Call inside the running loop."""
    def snapshot(self) -> Snapshot: ...
    async def drain(self, grace_ms: int) -> int:
        """Refuses new requests (503, connection: close) and waits for those in flight. Returns how many were left."""
    def close(self) -> None:
        """Stops the sweeper and the writer thread; what is buffered is written. Idempotent."""
