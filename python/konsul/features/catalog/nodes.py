"""Nodes: the machines that instances say they run on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from konsul.errors import Invalid, NotFound
from konsul.features.catalog import search, search_fields
from konsul.features.catalog.plans import Plan, planned
from konsul.features.catalog.rules import (
    ADDRESS_MAX_CHARS,
    check_metadata,
    check_node,
    check_zone,
    is_possible,
)
from konsul.features.catalog.status import NODE_NOT_FOUND
from konsul.features.catalog.tables import Instance, Node
from konsul.kernel import entry
from konsul.kernel.command import command, query
from konsul.kernel.context import Context
from konsul.kernel.scanning import packed_pages
from konsul.kernel.settings import ServiceSettings

SHOWN_MAX: Final = 1_000
"""Instances that the document of a node names; `GET /services?node=` has them all."""
PER_ENTRY: Final = 512
"""Instances that go in one entry before their node does."""
_NODE: Final = Instance.column("node")


@dataclass(frozen=True, slots=True)
class NodeDocument:
    """A node with what is on it, as JSON members."""

    members: Mapping[str, Any]


@command("node.put", needs="agent:write", resource="name")
async def put_node(
    ctx: Context, *, name: str, address: str = "", zone: str = "", meta: Mapping[str, str] | None = None
) -> int:
    """Says where a node is and what is known of it; its checks and instances stay. Returns its modify_index.

    Instances take its zone, where they have none of their own, when they register.

    Raises:
        Invalid: a rule is broken.
    """
    check_node(name)
    if len(address) > ADDRESS_MAX_CHARS or not address.isprintable():
        raise Invalid(f"invalid node address: at most {ADDRESS_MAX_CHARS} chars, all printable")
    check_zone(zone)
    check_metadata(meta or {}, ctx.config.of(ServiceSettings))
    given = {"address": address, "zone": zone, "meta": dict(meta or {})}
    row = Node(name=name, address=address, zone=zone, meta=given["meta"])  # type: ignore[arg-type]
    cases = [
        entry.case([entry.exists(Node, name)], [entry.patch(Node, name, given)]),
        entry.case([], [entry.put(Node, name, row.cells())]),
    ]
    return (await ctx.commit(entry.encode(cases))).index


@command("node.delete", needs="agent:write", resource="name")
async def delete_node(ctx: Context, *, name: str) -> None:
    """Removes a node with its checks and every instance on it, with theirs.

    Raises:
        NotFound: there is no such node. Busy: instances come as fast as they are removed.
    """
    if not is_possible(name.encode()):
        raise NotFound(NODE_NOT_FOUND)

    async def attempt(plan: Plan) -> None:
        if plan.node(name) is None:
            raise NotFound(NODE_NOT_FOUND)
        # What it takes with it by law goes in one entry: most of it goes before, a bounded number at a time.
        where = [(_NODE, name.encode())]
        for found in packed_pages(ctx.engine, Instance.table_id, b"", where, size=PER_ENTRY):
            if found:
                guards = [entry.is_(Instance, key, "node", name) for key, _ in found]
                ops = [entry.delete(Instance, key) for key, _ in found]
                await ctx.following().commit(entry.encode([entry.case(guards, ops)]))
            await asyncio.sleep(0)
        plan.guards.append(entry.exists(Node, name))
        plan.ops.append(entry.delete(Node, name))
        await plan.commit(ctx)

    await planned(ctx, attempt, f"node {name}", owner=name)


@query("node.get", needs="agent:read", resource="name")
async def get_node(ctx: Context, *, name: str) -> NodeDocument:
    """A node with the ids of its checks and those of its instances whose services the caller may read.

    Raises:
        NotFound: there is no such node.
    """
    key = name.encode()
    row = ctx.engine.get(Node.table_id, key) if is_possible(key) else None
    if row is None:
        raise NotFound(NODE_NOT_FOUND)
    found = await search.search(
        ctx,
        search_fields.INSTANCES,
        search.Asked(limit=SHOWN_MAX),
        where=[(_NODE, key)],
        sight=ctx.visible("service:read"),
    )
    instances = [{"name": one.name, "id": one.id or one.name, "health": one.health} for one in found.rows]
    node = Node.stored(key, row.cells)
    members = members_of(node) | {
        "create_index": row.create_index,
        "modify_index": row.modify_index,
        "checks": node.check_ids or [],
        "instances": instances,
        "more": found.after is not None,
    }
    return NodeDocument(members)


@query("node.list", needs="agent:list")
async def list_nodes(
    ctx: Context, *, asked: search.Asked, zone: str | None = None
) -> tuple[Sequence[Node], str | None]:
    """The nodes that the caller may list, and what to go on after, None at the end.

    Raises:
        Invalid: as `search.search`.
    """
    where = [] if zone is None else [(Node.column("zone"), zone.encode())]
    found = await search.search(ctx, search_fields.NODES, asked, where=where, sight=ctx.visible("agent:list"))
    return found.rows, found.after


def members_of(node: Node) -> dict[str, Any]:
    """A node as answers show it; what is empty is left out."""
    members: dict[str, Any] = {"name": node.name}
    for name in ("address", "zone", "meta"):
        if getattr(node, name):
            members[name] = getattr(node, name)
    return members | {"health": node.health}
