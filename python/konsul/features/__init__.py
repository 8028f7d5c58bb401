"""The features of a node: one folder each. Adding one = a folder and its word here."""

FEATURES: tuple[str, ...] = (
    "audit",
    "auth",
    "acl",
    "ratelimit",
    "watch",
    "kv",
    "sessions",
    "dependencies",
    "catalog",
    "checks",
    "lb",
    "queries",
    "cluster",
    "health",
    "metrics",
)
