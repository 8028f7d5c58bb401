"""What can be asked of instances, nodes and checks in a filter, and what they can be sorted by."""

from __future__ import annotations

from typing import Final

from konsul.engine import unpack_row
from konsul.features.catalog.candidates import Candidate
from konsul.features.catalog.healths import RANKS
from konsul.features.catalog.search import Source
from konsul.features.catalog.tables import Check, Instance, Node, split_key
from konsul.kernel.filters.selectors import Kind, Selector, Selectors

_TEXT, _NUMBER, _TEXTS, _MAP = Kind.TEXT, Kind.NUMBER, Kind.TEXTS, Kind.TEXT_MAP

INSTANCES: Final[Source[Candidate]] = Source(
    Instance,
    Candidate,
    Selectors(
        (
            Selector(
                ("Service", "Name", "ServiceName", "Service.Service", "Service.Name"),
                _TEXT,
                lambda one: one.name,
                Instance.column("name"),
            ),
            Selector(("ID", "ServiceID", "Service.ID"), _TEXT, lambda one: one.id or one.name),
            Selector(("Address", "ServiceAddress", "Service.Address"), _TEXT, lambda one: one.address),
            Selector(("Port", "ServicePort", "Service.Port"), _NUMBER, lambda one: one.port),
            Selector(
                ("Tags", "ServiceTags", "Service.Tags"),
                _TEXTS,
                lambda one: one.tags,
                Instance.column("tags"),
            ),
            Selector(
                ("Meta", "ServiceMeta", "Service.Meta"), _MAP, lambda one: one.meta, Instance.column("meta")
            ),
            Selector(("Node", "Node.Node"), _TEXT, lambda one: one.node or "", Instance.column("node")),
            Selector(("Zone",), _TEXT, lambda one: one.zone, Instance.column("zone")),
            Selector(("Health", "Status"), _TEXT, lambda one: one.health, Instance.column("health")),
            Selector(("ModifyIndex",), _NUMBER, lambda one: one.modify_index),
        )
    ),
    {
        "name": lambda one: one.name,
        "id": lambda one: one.id or one.name,
        "address": lambda one: one.address,
        "port": lambda one: one.port,
        "health": lambda one: RANKS[one.health],
        "node": lambda one: one.node or "",
        "zone": lambda one: one.zone,
        "modify_index": lambda one: one.modify_index,
    },
    lambda one: one.key,
)
"""By health: from the best to the worst."""

NODES: Final[Source[Node]] = Source(
    Node,
    lambda key, packed: Node.stored(key, unpack_row(packed).cells),
    Selectors(
        (
            Selector(("Node", "Name", "ID"), _TEXT, lambda one: one.name),
            Selector(("Address",), _TEXT, lambda one: one.address),
            Selector(("Zone",), _TEXT, lambda one: one.zone, Node.column("zone")),
            Selector(("Meta", "NodeMeta"), _MAP, lambda one: one.meta, Node.column("meta")),
            Selector(("Health", "Status"), _TEXT, lambda one: one.health),
        )
    ),
    {
        "name": lambda one: one.name,
        "address": lambda one: one.address,
        "zone": lambda one: one.zone,
        "health": lambda one: RANKS[one.health],
    },
    lambda one: one.name.encode(),
)

CHECKS: Final[Source[Check]] = Source(
    Check,
    lambda key, packed: Check.stored(key, unpack_row(packed).cells),
    Selectors(
        (
            Selector(("CheckID", "ID"), _TEXT, lambda one: one.id),
            Selector(("Name",), _TEXT, lambda one: one.name),
            Selector(("Type",), _TEXT, lambda one: one.type),
            Selector(("Status", "Health"), _TEXT, lambda one: one.status, Check.column("status")),
            Selector(("Output",), _TEXT, lambda one: one.output),
            Selector(("ServiceName", "Service"), _TEXT, lambda one: one.service, Check.column("service")),
            Selector(("ServiceID",), _TEXT, lambda one: split_key(one.instance or "")[1]),
            Selector(("Node",), _TEXT, lambda one: one.node or "", Check.column("node")),
        )
    ),
    {
        "id": lambda one: one.id,
        "name": lambda one: one.name,
        "service": lambda one: one.service,
        "node": lambda one: one.node or "",
        "status": lambda one: RANKS[one.status],
        "changed": lambda one: one.changed_at_ms,
    },
    lambda one: one.id.encode(),
)
