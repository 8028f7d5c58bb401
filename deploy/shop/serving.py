"""One server of the shop, as a process of its own. Standard library only.

It listens on a port the system picks and says `ready PORT`. `GET /` asks every service it needs for an
answer, each through Konsul's load balancer, and tells who answered. `GET /health` is what Konsul checks;
`PUT /break` and `PUT /mend` change what that says.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Sequence
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

TIMEOUT_S = 10.0
_OPENER = build_opener(ProxyHandler({}))


class Server(ThreadingHTTPServer):
    """Listens on loopback; knows who it is and what it needs."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, who: dict[str, str], konsul: str, needs: Sequence[str]) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.who = who
        self.konsul = konsul
        self.needs = needs
        self.is_broken = threading.Event()

    def visit(self) -> dict[str, Any]:
        """What `GET /` answers."""
        return {**self.who, "needs": [self._ask(service) for service in self.needs]}

    def _ask(self, service: str) -> dict[str, Any]:
        try:
            chosen = _get(f"{self.konsul}/lb/service/{service}")["service"]
            return _get(f"http://{chosen['address']}:{chosen['port']}/")
        except (HTTPError, OSError, HTTPException, ValueError) as error:
            return {"service": service, "error": f"nobody answers: {error}"}


class Answer(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """`/`, `/health`, or 404."""
        if self.path == "/health":
            broken = self.server.is_broken.is_set()
            self._send(500 if broken else 200, {"status": "broken" if broken else "fine"})
        elif self.path == "/":
            self._send(200, self.server.visit())
        else:
            self._send(404, {"error": "not found"})

    def do_PUT(self) -> None:
        """`/break` and `/mend`."""
        change = {"/break": self.server.is_broken.set, "/mend": self.server.is_broken.clear}.get(self.path)
        if change is None:
            self._send(404, {"error": "not found"})
            return
        change()
        self._send(200, self.server.who)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the story is told by the script."""

    def _send(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _get(url: str) -> dict[str, Any]:
    with _OPENER.open(url, timeout=TIMEOUT_S) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def main() -> None:
    """Serves until it is told to end, or whoever started it is gone."""
    parser = argparse.ArgumentParser("deploy.shop.serving")
    for name in ("service", "id", "version", "zone", "konsul"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--needs", nargs="*", default=[])
    given = parser.parse_args()
    who = {name: getattr(given, name) for name in ("service", "id", "version", "zone")}
    with Server(who, given.konsul.rstrip("/"), given.needs) as server:
        print(f"ready {server.server_address[1]}", flush=True)
        # The end of standard input is the end of the parent, however it came: no server is left behind.
        threading.Thread(target=_end_with_parent, args=(server,), daemon=True).start()
        server.serve_forever()


def _end_with_parent(server: Server) -> None:
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    main()
