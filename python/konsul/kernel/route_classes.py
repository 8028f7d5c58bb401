"""What kind of work a request is, for its price: read, write, list, batch, login, admin, graphql or watch.

The limit slot is called with cost 1 and one of these; of a batch and of an operation of GraphQL once more,
with ITEMS or COMPLEXITY and how many. What one of each costs is the rate limit's business.
"""

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

ITEMS: Final = "items"
"""Spent once the body of a batch is read; the cost is how many items it has."""
COMPLEXITY: Final = "complexity"
"""Spent once an operation of GraphQL is understood; the cost is its complexity."""

_LOGINS: Final = frozenset(("/auth/login", "/auth/refresh", "/auth/bootstrap"))
_LISTS: Final = frozenset(("/kv", "/services", "/nodes", "/sessions", "/query", "/health/checks"))
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
