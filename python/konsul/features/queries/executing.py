"""From a query to instances: found by indexes, kept by what indexes cannot say, ordered, cut."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from konsul.features.catalog.candidates import ANY, PASSING, SERVING, Candidate, Health, candidates_of
from konsul.features.catalog.healths import serves, worst
from konsul.features.catalog.rules import is_possible
from konsul.features.catalog.search_config import SearchSettings
from konsul.features.catalog.search_turns import slice_of, turn_of
from konsul.features.catalog.tables import Check, Instance, Node
from konsul.features.lb.balancer import Asking, balancer_of
from konsul.features.lb.loads import loads_of
from konsul.features.lb.pools import Pool
from konsul.features.lb.strategies import Strategy
from konsul.features.queries.documents import NEAR_AGENT, NEAR_CALLER
from konsul.features.queries.finding import Ready
from konsul.kernel.cluster_settings import ClusterSettings
from konsul.kernel.context import Context
from konsul.kernel.filters.selectors import Filter
from konsul.kernel.scanning import pages
from konsul.kernel.schema import Row

_UNMEASURED: Final = float("inf")
_NODES: Final = 100
"""Looked at between two turns of the loop."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody is; empty: nobody knows."""

    node: str = ""
    zone: str = ""


async def execute(
    ctx: Context, query: Ready, *, near: str = "", strategy: Strategy | None = None, passing: bool = False
) -> list[Candidate]:
    """The instances of the services that the caller may read, best first: the nearest of `near` or of the
    query's, else by strategy, else shuffled.

    Raises:
        Invalid: more filters than a scan takes, or a filter that a template's name has spoilt.
    """
    sought = query.prepared.sought
    passing = passing or sought.only_passing
    wanted = [tag for tag in sought.tags if not tag.startswith("!")]
    most = ctx.config.of(SearchSettings).rows_max
    health: Health = ANY if sought.ignore_check_ids else PASSING if passing else SERVING
    found = candidates_of(ctx, sought.service, most, health, tags=wanted, metadata=list(sought.meta.items()))
    chosen = query.filter()
    keeps, size = _keeping(ctx, query, chosen, passing), slice_of(chosen)
    kept: list[Candidate] = []
    for start in range(0, len(found), size):
        async with turn_of(ctx.engine):
            kept += [one for one in found[start : start + size] if keeps(one)]
            if start + size < len(found):
                await asyncio.sleep(0)
    return await _ordered(ctx, query, kept, near or sought.near, strategy or query.prepared.strategy)


def _keeping(
    ctx: Context, query: Ready, chosen: Filter[Candidate] | None, passing: bool
) -> Callable[[Candidate], bool]:
    sought = query.prepared.sought
    excluded = frozenset(tag[1:] for tag in sought.tags if tag.startswith("!"))
    nodes = _Nodes(ctx)
    ignored = frozenset(sought.ignore_check_ids)
    health: Health = PASSING if passing else SERVING

    def keeps(one: Candidate) -> bool:
        if excluded and not excluded.isdisjoint(one.tags):
            return False
        if chosen is not None and not chosen.accepts(one):
            return False
        if sought.node_meta and not _holds(nodes.meta(one.node), sought.node_meta):
            return False
        # Whose worst checks do not count is as healthy as the others say.
        return not ignored or serves(health, one.health) or serves(health, _without(ctx, one, ignored))

    return keeps


def _holds(meta: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(meta.get(name) == value for name, value in wanted.items())


def _without(ctx: Context, one: Candidate, ignored: frozenset[str]) -> str:
    """The worst status of an instance's checks and its node's, but for those that are ignored."""
    ids = list(_cell(ctx, Instance, one.key, "check_ids") or ())
    if one.node is not None:
        ids += _cell(ctx, Node, one.node.encode(), "check_ids") or ()
    statuses = [_cell(ctx, Check, id.encode(), "status") for id in ids if id not in ignored]
    return worst([status for status in statuses if status is not None])


def _cell(ctx: Context, table: type[Row], key: bytes, column: str) -> Any:
    row = ctx.engine.get(table.table_id, key)
    return None if row is None else row.cells[table.column(column)]


class _Nodes:
    """The metadata of nodes, each read once."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._meta: dict[str, Mapping[str, str]] = {}

    def meta(self, name: str | None) -> Mapping[str, str]:
        """None for an instance without a node."""
        if name is None:
            return {}
        if name not in self._meta:
            self._meta[name] = _cell(self._ctx, Node, name.encode(), "meta") or {}
        return self._meta[name]


async def _ordered(
    ctx: Context, query: Ready, kept: list[Candidate], near: str, strategy: Strategy | None
) -> list[Candidate]:
    if not kept:
        return kept
    if near:
        return _nearest(ctx, kept, await place_of(ctx, near, kept))
    if strategy is not None:
        asking = Asking(group=("query", query.stored.id, query.name), client_addr=ctx.client_addr)
        places = await balancer_of(ctx.engine).order(strategy, Pool(kept), asking, len(kept))
        return [kept[at] for at in places]
    balancer_of(ctx.engine).rng.shuffle(kept)
    return kept


def _nearest(ctx: Context, kept: Sequence[Candidate], place: Place) -> list[Candidate]:
    """By distance, those equally far by measured latency, the others shuffled."""
    loads, rng = loads_of(ctx.engine), balancer_of(ctx.engine).rng

    def rank(one: Candidate) -> tuple[int, float, float]:
        latency_ms = loads.latency_ms(one.key)
        return distance_of(one, place), _UNMEASURED if latency_ms is None else latency_ms, rng.random()

    return sorted(kept, key=rank)


def distance_of(one: Candidate, place: Place) -> int:
    """0 on the node, 1 in its zone, else 2."""
    if place.node and one.node == place.node:
        return 0
    return 1 if place.zone and one.zone == place.zone else 2


async def place_of(ctx: Context, near: str, found: Sequence[Candidate]) -> Place:
    """Where `near` is: `_agent` the node that answers, `_ip` the caller by its address, else the node of this
    name, else the zone. A node that nobody described is where its instances in `found` say that they are."""
    if near == NEAR_AGENT:
        settings = ctx.config.of(ClusterSettings)
        node, zone = settings.node_id, settings.zone
    elif near == NEAR_CALLER:
        node, zone = await _node_at(ctx, ctx.client_addr), ""
    elif is_possible(near.encode()) and ctx.engine.get(Node.table_id, near.encode()) is not None:
        node, zone = near, ""
    else:
        return Place(zone=near)
    zone = zone or _zone(ctx, node) or next((one.zone for one in found if node and one.node == node), "")
    return Place(node, zone)


def _zone(ctx: Context, node: str) -> str:
    return str(_cell(ctx, Node, node.encode(), "zone") or "") if node else ""


async def _node_at(ctx: Context, address: str) -> str:
    """The node of this address; there is no index of them, and there are fewer than instances."""
    column = Node.column("address")
    most = ctx.config.of(SearchSettings).rows_max // _NODES + 1
    for page in islice(pages(ctx.engine, Node.table_id, size=_NODES), most):
        for key, row in page:
            if address and row.cells[column] == address:
                return key.decode()
        await asyncio.sleep(0)
    return ""
