"""The catalog feature, declared."""

from __future__ import annotations

from konsul.features.catalog import batch, commands, leases, queries, routes, tables
from konsul.features.catalog.metrics import METRICS
from konsul.kernel.feature import Feature

feature = Feature(
    name="catalog",
    tables=(tables.Instance,),
    commands=(
        commands.register,
        commands.deregister,
        commands.deregister_all,
        commands.heartbeat,
        batch.register_many,
        batch.deregister_many,
    ),
    queries=(
        queries.get,
        queries.get_metadata,
        queries.list_services,
        queries.instances,
        queries.instances_metadata,
        queries.find,
        queries.get_many,
    ),
    router=routes.router,
    services=(leases.Leases,),
    metrics=METRICS,
    shapes={"service": tables.SERVICE},
)
