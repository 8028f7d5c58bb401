"""The door as one object: settings, schema, persisted documents, rates, sockets, counters. One per node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from konsul.doors.graphql.counters import Metering
from konsul.doors.graphql.operation import MUTATION, QUERY, Operation
from konsul.doors.graphql.persisted import Persisted
from konsul.doors.graphql.ready import LazySchema
from konsul.doors.graphql.refusals import Refused, rate_limited
from konsul.doors.graphql.sockets import Sockets
from konsul.engine import Limiter
from konsul.kernel.context import Context
from konsul.kernel.graphql_settings import GraphqlSettings
from konsul.kernel.per_client import PerClient
from konsul.kernel.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Callable

    import strawberry

    from konsul.kernel.node import Kernel

_MINUTE_MS: Final = 60_000
_CLIENTS_MAX: Final = 10_000
"""Clients with a rate of their own; those after them share one."""
_RETRY_S: Final = 1
_FRESH: Final = Reading()


class Seats:
    """How many subscriptions each client has."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = PerClient()

    def take(self, client: str) -> None:
        """Raises Refused when the client has as many as it may."""
        taken = self._taken.of(client)
        if self._limit and taken >= self._limit:
            raise rate_limited(
                f"{taken} subscriptions are open, the limit of a client is {self._limit} "
                "(KONSUL_GRAPHQL_SUBSCRIPTION_RATE_LIMIT)",
                _RETRY_S,
            )
        self._taken.add(client)

    def give(self, client: str) -> None:
        """One ended."""
        self._taken.drop(client)


class Door:
    """What the transports share."""

    def __init__(self, kernel: Kernel, build: Callable[[], strawberry.Schema] | None = None) -> None:
        """`build` makes the schema; by default from the kernel's features. Raises StartFailed."""
        self.kernel = kernel
        self.settings = kernel.config.of(GraphqlSettings)
        settings = self.settings
        self.metering = Metering(kernel.metrics.registry)
        self.persisted = Persisted(settings)
        self.schema = LazySchema(build or self._build, settings, self._measure)
        self.seats = Seats(settings.subscription_rate_limit)
        self.mutation_rate = (
            Limiter(settings.mutation_rate_limit, _MINUTE_MS, _CLIENTS_MAX)
            if settings.mutation_rate_limit
            else None
        )
        self.sockets = Sockets(self)
        self.metering.documents.set_function(self._documents)
        self.metering.persisted.set_function(lambda: len(self.persisted))

    def operation(self, context: Context, transport: str, reading: Reading = _FRESH) -> Operation:
        """The context of one operation."""
        return Operation(
            kernel=self.kernel,
            context=context,
            page_max=self.settings.max_page_size,
            reading=reading,
            transport=transport,
            buffer=self.settings.event_buffer_size,
        )

    def refused(self, refused: Refused, label: str = "") -> None:
        """Counts an operation that was not executed."""
        self.metering.errors.labels(self.metering.names.label(label), refused.code).inc()

    def _build(self) -> strawberry.Schema:
        from konsul.doors.graphql.schema import build

        return build(self.kernel.features)

    def _documents(self) -> float:
        return float(len(self.schema.ready.documents)) if self.schema.ready is not None else 0.0

    def _measure(
        self, kind: str, name: str, answer: Any, seconds: float, error: BaseException | None
    ) -> None:
        """Counts one field of a root type."""
        metering = self.metering
        metering.resolver_took.labels(name).observe(seconds)
        if kind == QUERY and error is None:
            items = answer if isinstance(answer, list) else getattr(answer, "items", None)
            if isinstance(items, list):
                metering.results.labels(name).observe(len(items))
        if kind == MUTATION:
            metering.mutations.labels(name, "error" if error is not None else "success").inc()
            metering.mutation_took.labels(name).observe(seconds)
            if error is not None:
                from konsul.doors.graphql.failures import CODES, INTERNAL

                code = CODES.get(type(error), INTERNAL) if isinstance(error, Exception) else INTERNAL
                metering.mutation_errors.labels(name, code).inc()
