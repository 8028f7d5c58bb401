"""A server that plays the cluster routes: answers that are laid out, requests that are kept."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NODES = [
    {"id": "n1", "address": "127.0.0.1:7001", "state": "leader", "lag": 0, "zone": "a"},
    {"id": "n2", "address": "127.0.0.1:7002", "state": "follower", "lag": 7, "zone": "b"},
    {"id": "n3", "address": "127.0.0.1:7003", "state": "learner", "lag": 5000, "zone": "c"},
]
PEERS = [
    {"id": "n1", "address": "127.0.0.1:7001", "state": "Voter"},
    {"id": "n2", "address": "127.0.0.1:7002", "state": "Voter"},
    {"id": "n3", "address": "127.0.0.1:7003", "state": "Nonvoter"},
]
STATS = {
    "term": 2,
    "last_log_index": 21,
    "last_log_term": 2,
    "commit_index": 21,
    "applied_index": 20,
    "fsm_pending": 1,
    "last_snapshot_index": 19,
    "last_snapshot_term": 2,
    "num_peers": 3,
}
STATUS = {
    "node_id": "n2",
    "state": "Follower",
    "leader_id": "n1",
    "leader_addr": "127.0.0.1:7001",
    "peers": PEERS,
    "last_index": 21,
    "applied_index": 20,
    "commit_index": 21,
    "stats": STATS,
    "cluster_state": "healthy",
    "leader": {"id": "n1", "address": "127.0.0.1:7001"},
    "nodes": NODES,
    "quorum": 2,
}
LEADERLESS = STATUS | {
    "state": "Candidate",
    "leader_id": "",
    "leader_addr": "",
    "leader": None,
    "cluster_state": "unavailable",
    "nodes": [one | {"state": "unknown", "lag": None} for one in NODES],
}


class PlayedCluster:
    """`answers` maps `GET /cluster/status` to a status and a body; `asked` holds what came in."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[tuple[str, Any]] = []
        self.address = ""

    def say(self, route: str, body: Any, status: int = 200) -> None:
        """Lay out an answer."""
        self.answers[route] = (status, body)

    @property
    def last(self) -> tuple[str, Any]:
        """The newest request: its route and its JSON body."""
        return self.asked[-1]


@contextmanager
def played() -> Iterator[PlayedCluster]:
    """A server on a free port of this machine, gone at the end."""
    play = PlayedCluster()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            route = f"{self.command} {self.path}"
            length = int(self.headers.get("Content-Length") or 0)
            play.asked.append((route, json.loads(self.rfile.read(length)) if length else None))
            absent = {"error": "Not Found", "message": f"Cannot {route}"}
            status, body = play.answers.get(route, (404, absent))
            packed = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(packed)))
            self.end_headers()
            self.wfile.write(packed)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, format: str, *args: Any) -> None:
            """Standard error belongs to the program under test."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    play.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield play
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
