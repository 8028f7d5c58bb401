"""The front: one callable for every request. Compiled from `front.pyx`; this file is its typed contract."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, final

from konsul_ext.contract import (
    Admission,
    App,
    Audit,
    Completion,
    Headers,
    NativeCore,
    NativeRequest,
    Receive,
    Scope,
    Send,
    Snapshot,
    Tally,
)

@final
class Front:
    """What answers every request: as an ASGI application, or given to the listener as its `answer`.

    Every request gets an id, limits on head and body, CORS, a decoded path, the slots `identify` and
    `limit`, an event in the audit, a line in the access log and a count. Plain cases of the data plane are
    answered here with one call into `core`; everything else goes to `app`, which finds the body whole,
    `scope["path"]` decoded once without `/v1` and trailing slashes, and `scope["konsul"]`: request_id,
    client, with an admission identity, public and class, route, which `app` sets to the template that
    matched, and behind the listener lines, which makes the connection a line (`konsul.kernel.lines`).
    """

    def __init__(
        self,
        core: NativeCore,
        waiting: dict[int, asyncio.Future[Completion]],
        app: App,
        *,
        raise_for: Callable[[Completion], object] | None = None,
        render: Callable[[Exception, str, str], tuple[int, Headers, bytes]] | None = None,
        shapes: Mapping[str, Any] | None = None,
        kv_refusal: Callable[[str, int, int], Exception] | None = None,
        tally: Tally | None = None,
        kv_table: int = 1,
        service_table: int = 2,
        max_head_bytes: int = 4096,
        max_body_bytes: int = 4_194_304,
        max_value_bytes: int = 524_288,
        max_key_bytes: int = 1024,
        max_held_bytes: int = 268_435_456,
        body_timeout_ms: int = 30_000,
        write_timeout_ms: int = 5_000,
        write_id: Callable[[bytes, Any, str, bytes, bytes, bytes], bytes] | None = None,
        redirect_writes: bool = False,
        access_log: Literal["all", "errors", "off"] | str = "all",
        log_format: Literal["json", "text"] | str = "json",
        log_level: Literal["debug", "info", "warn", "error"] | str = "info",
        log_fd: int = 2,
        log_buffer_bytes: int = 4_194_304,
        identify: Callable[[bytes | None, bytes | None, bytes | None], Any] | None = None,
        limit: Callable[[Any, str, str, int], Headers] | None = None,
        authorise: Callable[[Any, str, str], str] | None = None,
        audit: Audit | None = None,
        admission: Admission | None = None,
        answer_headers: Headers | None = None,
    ) -> None:
        """Builds the front; starts nothing.

        Args:
            core, waiting: of `konsul.engine.Engine`.
            raise_for: turns a core's completion into an exception of `konsul.errors`.
            render: (error, request id, path as sent) -> what the application answers to such an error.
            shapes: compiled `Shape`s by name: kv, kv_metadata, service. A route without its shape goes to
                `app`; all do without `raise_for`, `render` and `kv_refusal`.
            kv_refusal: (key, expected index, current index) -> the error of a failed compare-and-set.
            identify, limit, authorise, audit: the slots of `konsul.kernel.pipeline`; they refuse by raising.
                None is open and costs nothing. `authorise` is asked for native routes only. An `AuditLog`
                is written to without a Python call.
            admission: who is let in; needed with any slot but `authorise` filled. None: everybody.
            answer_headers: what every answer carries besides.
            write_id: (Idempotency-Key, identity, method, path as sent, query, body) -> the 16 bytes under
                which the core applies the write once; raises for a key it cannot take.
            redirect_writes: writes go to the application while this node may not lead.
            max_held_bytes: bodies on their way, of all requests together; beyond it 503.
            log_buffer_bytes: lines beyond this, because nobody reads `log_fd`, are dropped and counted.

        Raises:
            KeyError: an unknown `access_log` or `log_level`.
        """
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serves one ASGI request or WebSocket."""
    def answer(self, scope: Scope, request: NativeRequest) -> None:
        """Answers a request of the listener, on whatever thread has it. Returns at once."""
    def start(self) -> None:
        """Starts the log's writer thread and the sweep that ends slow bodies. Needs a running loop."""
    def snapshot(self) -> Snapshot:
        """The counters."""
    async def drain(self, grace_ms: int) -> int:
        """Refuses new requests (503, connection: close), waits for those in flight. Returns how many were
        left."""
    def close(self) -> None:
        """Ends the sweep and the writer thread; what is buffered is written. Idempotent."""
