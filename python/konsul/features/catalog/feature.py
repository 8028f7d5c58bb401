"""The catalog feature, declared."""

from __future__ import annotations

from konsul.features.catalog import (
    batch,
    commands,
    leases,
    maintenance,
    mending,
    nodes,
    paging,
    queries,
    routes,
    tables,
)
from konsul.features.catalog.health_counts import HealthCounts
from konsul.features.catalog.metrics import METRICS
from konsul.features.catalog.names import NAMES
from konsul.features.catalog.search_config import SearchSettings
from konsul.features.catalog.search_queries import search_page, search_services
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
        maintenance.service_maintenance,
        nodes.put_node,
        nodes.delete_node,
        maintenance.node_maintenance,
    ),
    queries=(
        queries.get,
        queries.get_metadata,
        queries.list_services,
        queries.instances,
        queries.instances_metadata,
        queries.find,
        queries.get_many,
        search_services,
        search_page,
        nodes.get_node,
        nodes.list_nodes,
        paging.page,
        paging.instances_page,
        paging.count,
        paging.rows,
        paging.instance,
    ),
    router=routes.router,
    services=(leases.Leases, HealthCounts, mending.Mending),
    config=SearchSettings,
    metrics=METRICS,
    names=NAMES,
    shapes={"service": tables.SERVICE},
    graphql=Graph("konsul.features.catalog.graphql"),
)
