"""The catalog feature, declared."""

from __future__ import annotations

from konsul.features.catalog import batch, commands, leases, paging, queries, routes, tables
from konsul.features.catalog.metrics import METRICS
from konsul.kernel.feature import Feature
from konsul.kernel.graph import Graph

feature = Feature(
    name="catalog",
    tables=(tables.Instance, tables.Node, tables.Check, tables.CheckLease),
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
        paging.page,
        paging.instances_page,
        paging.count,
        paging.rows,
        paging.instance,
    ),
    router=routes.router,
    services=(leases.Leases,),
    metrics=METRICS,
    shapes={"service": tables.SERVICE},
    graphql=Graph("konsul.features.catalog.graphql"),
)
