"""What the door counts, under the names that dashboards know. Labels are bounded: names come from clients."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

OTHER: Final = "other"
ANONYMOUS: Final = "anonymous"
_NAMES_MAX: Final = 100
_NAME_CHARS: Final = 64
_TOOK: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5)
_FIELD_TOOK: Final = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1)
_RESULTS: Final = (0, 1, 5, 10, 25, 50, 100, 250, 500, 1000)
_COMPLEXITY: Final = (1, 5, 10, 25, 50, 100, 250, 500)
_DEPTH: Final = (1, 2, 3, 5, 7, 10, 15)


class Names:
    """The first operation names that came; those after them are counted as `other`."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def label(self, name: str) -> str:
        """The label of an operation's name; only for documents that are valid."""
        if not name:
            return ANONYMOUS
        if name in self._known:
            return name
        if len(self._known) >= _NAMES_MAX or len(name) > _NAME_CHARS:
            return OTHER
        self._known.add(name)
        return name


class Metering:
    """The door's metrics. Register once per node."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"konsul_graphql_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"konsul_graphql_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"konsul_graphql_{name}", text, labels, registry=registry, buckets=buckets)

        self.names = Names()
        by_name = "query_name"
        self.queries = counter("queries", "Queries executed.", by_name, "status")
        self.query_took = histogram("query_duration_seconds", "Executing one query.", _TOOK, by_name)
        self.results = histogram("query_results_count", "Items in a query's lists.", _RESULTS, by_name)
        self.resolver_took = histogram(
            "resolver_duration_seconds", "Resolving one field of a root type.", _FIELD_TOOK, "resolver"
        )
        self.errors = counter("errors", "Errors told to clients, by code.", by_name, "error_type")
        self.complexity = histogram("query_complexity", "Cost of an operation.", _COMPLEXITY, by_name)
        self.depth = histogram("query_depth", "Depth of an operation.", _DEPTH)
        self.mutations = counter("mutations", "Mutation fields executed.", "operation", "status")
        self.mutation_took = histogram(
            "mutation_duration_seconds", "Executing one mutation field.", _TOOK, "operation"
        )
        self.mutation_errors = counter(
            "mutation_errors", "Mutation fields that failed.", "operation", "error_code"
        )
        self.subscriptions = gauge("subscriptions_active", "Subscriptions under way.", "type")
        self.events = counter("subscription_events", "Events told to subscribers.", "type")
        self.event_latency = histogram(
            "subscription_event_latency_seconds",
            "From an event's arrival at its subscription to its sending.",
            _TOOK,
            "type",
        )
        self.published = counter("events_published", "Events that reached a subscription.", "type")
        self.dropped = counter("events_dropped", "Events that no subscriber was told.", "type", "reason")
        self.buffer = gauge("event_buffer_size", "Events that may wait for one subscription.", "type")
        self.sockets = gauge("websocket_connections_active", "Open WebSockets.")
        self.sockets_opened = counter("websocket_connections", "WebSockets opened.")
        self.sockets_closed = counter("websocket_disconnections", "WebSockets closed.", "reason")
        self.documents = gauge("documents_cached", "Parsed documents kept.")
        self.persisted = gauge("documents_persisted", "Documents known by their hash.")
