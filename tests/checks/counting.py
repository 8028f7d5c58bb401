"""An HTTP target in a thread: counts who asks, and is as healthy as a test says."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


class Counting:
    """`status`: what it answers from now on. `locations`: paths that redirect."""

    def __init__(self, host: str = "127.0.0.1", locations: Mapping[str, str] | None = None) -> None:
        self.status = 200
        self.locations = dict(locations or {})
        self.connections = 0
        self._hits: list[tuple[float, str]] = []
        self._lock = threading.Lock()
        target = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                target.connections += 1

            def do_GET(self) -> None:
                target.note(self.path)
                location = target.locations.get(self.path)
                self.send_response(302 if location else target.status)
                if location:
                    self.send_header("Location", location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                """Says nothing."""

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 1_024

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that goes away is no error."""

        self._server = Quiet((host, 0), Handler)
        self.host, self.port = host, self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(30)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{self.host}:{self.port}"

    def note(self, path: str) -> None:
        with self._lock:
            self._hits.append((time.monotonic(), path))

    def hits(self, path: str | None = None, since_s: float = 0.0) -> int:
        """How often it was asked, from a moment of the monotonic clock on."""
        with self._lock:
            return sum(at_s >= since_s and path in (None, one) for at_s, one in self._hits)
