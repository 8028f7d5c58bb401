"""What kind of work a request is, for its price: read, write, list, batch, login, admin, graphql or watch."""

from __future__ import annotations

from typing import Final

READ: Final = "read"
WRITE: Final = "write"
LIST: Final = "list"
BATCH: Final = "batch"
LOGIN: Final = "login"
ADMIN: Final = "admin"
GRAPHQL: Final = "graphql"
WATCH: Final = "watch"
ALL: Final = (READ, WRITE, LIST, BATCH, LOGIN, ADMIN, GRAPHQL, WATCH)

_LOGINS: Final = frozenset(("/auth/login", "/auth/refresh", "/auth/bootstrap"))
_LISTS: Final = frozenset(("/kv", "/services"))
_READS: Final = frozenset(("GET", "HEAD", "OPTIONS"))
_WATCHES: Final = frozenset(
    ("/services/watch", "/cluster/watch", "/health/watch", "/ws/updates", "/kv/watch")
)


def class_of(method: str, path: str) -> str:
    """The class of a request; `path` as `konsul.doors.http.paths.normalise` answers it."""
    path = path.lower() if not path.startswith(("/kv/", "/services/", "/heartbeat/")) else path
    if path.startswith("/batch/") or path == "/transaction":
        return BATCH
    if path == "/graphql":
        return GRAPHQL
    if path in _WATCHES or path.startswith("/kv/watch/"):
        return WATCH if method == "GET" else WRITE
    if path in _LOGINS:
        return LOGIN
    if path.startswith(("/admin/", "/acl/", "/auth/", "/cluster/")):
        return ADMIN
    if method not in _READS:
        return WRITE
    return LIST if path in _LISTS or path.startswith("/services/query") else READ
