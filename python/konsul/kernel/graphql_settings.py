"""Settings of the GraphQL door: what it offers, and the limit of everything a client can make large."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from konsul.kernel.config import Settings, between, setting
from konsul.kernel.values import BOOL, BYTES, DURATION_MS, INT, TEXT, one_of

_KIB: Final = 1 << 10
_MIB: Final = 1 << 20
_DAY_MS: Final = 86_400_000
_MANY: Final = 1_000_000
_COUNT: Final = between(1, _MANY)
_COUNT_OR_NONE: Final = between(0, _MANY)
_SPAN: Final = between(100, _DAY_MS, "100ms to 24h")


def _only_memory(value: str) -> str | None:
    """What the first Konsul needed Redis for, every node's own log does: nothing is shared beside it."""
    if value == "memory":
        return None
    return "memory: every node sees every change in the replicated log, so no other carrier is needed"


def _only_empty(value: str) -> str | None:
    return None if not value else "nothing: there is no Redis to talk to, every node has the replicated log"


class GraphqlSettings(Settings):
    """The GraphQL door."""

    enabled: bool = setting("KONSUL_GRAPHQL_ENABLED", BOOL, default=True, doc="Serve GraphQL on `/graphql`.")
    playground_enabled: bool = setting(
        "KONSUL_GRAPHQL_PLAYGROUND_ENABLED",
        BOOL,
        default=True,
        doc="Serve the GraphiQL page on `/graphql/playground`.",
    )
    introspection_enabled: bool = setting(
        "KONSUL_GRAPHQL_INTROSPECTION_ENABLED",
        BOOL,
        default=True,
        doc="Answer `__schema` and `__type`, and offer corrections in error messages.",
    )
    mutations_enabled: bool = setting(
        "KONSUL_GRAPHQL_MUTATIONS_ENABLED", BOOL, default=True, doc="Allow mutations."
    )
    subscriptions_enabled: bool = setting(
        "KONSUL_GRAPHQL_SUBSCRIPTIONS_ENABLED", BOOL, default=True, doc="Allow subscriptions."
    )
    max_depth: int = setting(
        "KONSUL_GRAPHQL_MAX_QUERY_DEPTH",
        INT,
        default=10,
        doc="Deepest nesting of fields, fragments expanded; introspection may nest to 15 if this is less.",
        check=between(1, 100),
    )
    max_complexity: int = setting(
        "KONSUL_GRAPHQL_MAX_COMPLEXITY",
        INT,
        default=1_000,
        doc="Most an operation may cost: 1 per field, and a list's fields once per item it may answer.",
        check=_COUNT,
    )
    max_aliases: int = setting(
        "KONSUL_GRAPHQL_MAX_ALIASES",
        INT,
        default=50,
        doc="Most aliases and repeated fields of a document.",
        check=_COUNT_OR_NONE,
    )
    max_directives: int = setting(
        "KONSUL_GRAPHQL_MAX_DIRECTIVES",
        INT,
        default=50,
        doc="Most directives of a document.",
        check=_COUNT_OR_NONE,
    )
    max_fragments: int = setting(
        "KONSUL_GRAPHQL_MAX_FRAGMENTS",
        INT,
        default=50,
        doc="Most fragments of a document, and most operations.",
        check=between(1, 1_000),
    )
    max_list_items: int = setting(
        "KONSUL_GRAPHQL_MAX_LIST_ITEMS",
        INT,
        default=1_000,
        doc="Most items of a list in an argument or a variable.",
        check=_COUNT,
    )
    max_page_size: int = setting(
        "KONSUL_GRAPHQL_MAX_PAGE_SIZE",
        INT,
        default=1_000,
        doc="Most items a list answers, and the largest `limit` that is accepted.",
        check=_COUNT,
    )
    list_size: int = setting(
        "KONSUL_GRAPHQL_LIST_SIZE",
        INT,
        default=10,
        doc="How many items a list without a `limit` counts for in the cost of an operation.",
        check=_COUNT,
    )
    max_batch: int = setting(
        "KONSUL_GRAPHQL_MAX_BATCH",
        INT,
        default=10,
        doc="Most operations of one request; 1: no batches.",
        check=between(1, 1_000),
    )
    max_query_bytes: int = setting(
        "KONSUL_GRAPHQL_MAX_QUERY_BYTES",
        BYTES,
        default=64 * _KIB,
        doc="Longest document, in bytes of UTF-8.",
        check=between(_KIB, 16 * _MIB, "1KiB to 16MiB"),
    )
    max_tokens: int = setting(
        "KONSUL_GRAPHQL_MAX_TOKENS",
        INT,
        default=5_000,
        doc="Most names, values, signs and comments of a document.",
        check=_COUNT,
    )
    max_variables_bytes: int = setting(
        "KONSUL_GRAPHQL_MAX_VARIABLES_BYTES",
        BYTES,
        default=4 * _MIB,
        doc="Most an operation's variables may take, written as JSON.",
        check=between(_KIB, 1 << 30, "1KiB to 1GiB"),
    )
    execution_timeout_ms: int = setting(
        "KONSUL_GRAPHQL_EXECUTION_TIMEOUT",
        DURATION_MS,
        default=30_000,
        doc="Time one operation, or one event of a subscription, may take.",
        check=_SPAN,
    )
    documents_kept: int = setting(
        "KONSUL_GRAPHQL_DOCUMENTS_KEPT",
        INT,
        default=1_000,
        doc="Parsed and checked documents kept for the next time.",
        check=_COUNT_OR_NONE,
    )
    documents_kept_bytes: int = setting(
        "KONSUL_GRAPHQL_DOCUMENTS_KEPT_BYTES",
        BYTES,
        default=_MIB,
        doc="Most text of those documents; parsed, it takes some fifty times as much.",
        check=between(0, 1 << 30, "0 to 1GiB"),
    )
    persisted_mode: Literal["off", "apq", "allow-list"] = setting(
        "KONSUL_GRAPHQL_PERSISTED_MODE",
        one_of("off", "apq", "allow-list"),
        default="apq",
        doc="`apq`: clients may send a document's SHA-256 once it is known. `allow-list`: only the documents "
        "of KONSUL_GRAPHQL_PERSISTED_DIR are answered.",
    )
    persisted_dir: str = setting(
        "KONSUL_GRAPHQL_PERSISTED_DIR",
        TEXT,
        default="",
        doc="A directory of `.graphql` files, or a JSON manifest: documents known from the start.",
    )
    persisted_max: int = setting(
        "KONSUL_GRAPHQL_PERSISTED_MAX",
        INT,
        default=1_000,
        doc="Most documents that clients registered; beyond it the one unused for longest goes.",
        check=_COUNT,
    )
    persisted_max_bytes: int = setting(
        "KONSUL_GRAPHQL_PERSISTED_MAX_BYTES",
        BYTES,
        default=8 * _MIB,
        doc="Most text of the documents that clients registered.",
        check=between(_KIB, 1 << 30, "1KiB to 1GiB"),
    )
    ws_max_connections: int = setting(
        "KONSUL_GRAPHQL_WS_MAX_CONNECTIONS",
        INT,
        default=1_000,
        doc="Most WebSockets of this door at once.",
        check=_COUNT,
    )
    ws_max_per_client: int = setting(
        "KONSUL_GRAPHQL_WS_MAX_PER_CLIENT",
        INT,
        default=100,
        doc="Most WebSockets of one client address; 0: no limit.",
        check=_COUNT_OR_NONE,
    )
    ws_max_operations: int = setting(
        "KONSUL_GRAPHQL_WS_MAX_OPERATIONS",
        INT,
        default=100,
        doc="Most operations under way on one WebSocket.",
        check=_COUNT,
    )
    ws_init_timeout_ms: int = setting(
        "KONSUL_GRAPHQL_WS_INIT_TIMEOUT",
        DURATION_MS,
        default=3_000,
        doc="Time a WebSocket's client has to send `connection_init`; beyond it 4408.",
        check=_SPAN,
    )
    ws_read_timeout_ms: int = setting(
        "KONSUL_GRAPHQL_WS_READ_TIMEOUT",
        DURATION_MS,
        default=60_000,
        doc="A WebSocket without an operation under way, from which nothing came for so long, is closed.",
        check=_SPAN,
    )
    ws_write_timeout_ms: int = setting(
        "KONSUL_GRAPHQL_WS_WRITE_TIMEOUT",
        DURATION_MS,
        default=10_000,
        doc="A connection whose client has not taken what waits for it in this time is closed.",
        check=_SPAN,
    )
    ws_ping_interval_ms: int = setting(
        "KONSUL_GRAPHQL_WS_PING_INTERVAL",
        DURATION_MS,
        default=30_000,
        doc="Time between two signs of life to a WebSocket's client: `ping`, or `ka` in the older protocol.",
        check=_SPAN,
    )
    event_buffer_size: int = setting(
        "KONSUL_GRAPHQL_EVENT_BUFFER_SIZE",
        INT,
        default=100,
        doc="Events that wait for one subscription of a slow client; beyond it, it is told to be behind.",
        check=between(1, 65_536),
    )
    event_cleanup_interval_ms: int = setting(
        "KONSUL_GRAPHQL_EVENT_CLEANUP_INTERVAL",
        DURATION_MS,
        default=300_000,
        doc="A WebSocket on which no operation ran for so long is closed, even if it answers pings.",
        check=_SPAN,
    )
    mutation_rate_limit: int = setting(
        "KONSUL_GRAPHQL_MUTATION_RATE_LIMIT",
        INT,
        default=100,
        doc="Mutation fields of one client in a minute; 0: no limit.",
        check=_COUNT_OR_NONE,
    )
    subscription_rate_limit: int = setting(
        "KONSUL_GRAPHQL_SUBSCRIPTION_RATE_LIMIT",
        INT,
        default=10,
        doc="Subscriptions of one client at once, over all its connections; 0: no limit.",
        check=_COUNT_OR_NONE,
    )
    pubsub_backend: str = setting(
        "KONSUL_GRAPHQL_PUBSUB_BACKEND",
        one_of("memory", "redis"),
        default="memory",
        doc="Accepted as `memory` only: every node sees every change in the replicated log.",
        check=_only_memory,
    )
    redis_url: str = setting(
        "KONSUL_GRAPHQL_REDIS_URL",
        TEXT,
        default="",
        doc="Accepted as empty only: there is no Redis to talk to.",
        check=_only_empty,
        secret=True,
    )

    def problem(self) -> str | None:
        """Persisted documents that are asked for must be there."""
        if not self.enabled or self.persisted_mode == "off":
            return None
        if not self.persisted_dir:
            if self.persisted_mode == "allow-list":
                return (
                    "KONSUL_GRAPHQL_PERSISTED_DIR is empty: KONSUL_GRAPHQL_PERSISTED_MODE=allow-list needs it"
                )
            return None
        if not Path(self.persisted_dir).exists():
            return f"KONSUL_GRAPHQL_PERSISTED_DIR {self.persisted_dir} does not exist"
        return None
