"""The key-value feature, declared."""

from __future__ import annotations

from konsul.features.kv import batch, commands, locks, paging, queries, routes, tables, transaction, trees
from konsul.features.kv.metrics import METRICS
from konsul.kernel.feature import Feature
from konsul.kernel.graph import Graph

feature = Feature(
    name="kv",
    tables=(tables.Entry,),
    commands=(
        commands.set_,
        commands.delete,
        trees.delete_prefix,
        batch.set_many,
        batch.delete_many,
        batch.set_many_cas,
        batch.delete_many_cas,
        transaction.transact,
        trees.delete_tree,
        locks.acquire,
        locks.release,
    ),
    queries=(
        queries.get,
        queries.get_json,
        queries.list_keys,
        queries.list_rows,
        batch.get_many,
        paging.page,
        paging.count,
        paging.rows,
    ),
    router=routes.router,
    metrics=METRICS,
    shapes={"kv": tables.PLAIN, "kv_metadata": tables.METADATA},
    graphql=Graph("konsul.features.kv.graphql"),
)
