"""The SDK: `Client` and `AsyncClient`. Names load on first use, so that importing the package costs
nothing."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from konsul.client.aio import AsyncClient as AsyncClient
    from konsul.client.audit_calls import AuditPage as AuditPage
    from konsul.client.audit_calls import AuditQuery as AuditQuery
    from konsul.client.auth_calls import NewApiKey as NewApiKey
    from konsul.client.auth_calls import Tokens as Tokens
    from konsul.client.changes import Behind as Behind
    from konsul.client.changes import ClusterChange as ClusterChange
    from konsul.client.changes import Compacted as Compacted
    from konsul.client.changes import Connected as Connected
    from konsul.client.changes import Disconnected as Disconnected
    from konsul.client.changes import KvChange as KvChange
    from konsul.client.changes import Relisted as Relisted
    from konsul.client.changes import ServiceChange as ServiceChange
    from konsul.client.exchange import Policy as Policy
    from konsul.client.failure import HttpAnswer as HttpAnswer
    from konsul.client.graphql_calls import GraphQLAnswer as GraphQLAnswer
    from konsul.client.lb_calls import BalancingRules as BalancingRules
    from konsul.client.lb_calls import InstanceLoad as InstanceLoad
    from konsul.client.lb_calls import LoadReport as LoadReport
    from konsul.client.lb_calls import Selected as Selected
    from konsul.client.model import BatchResult as BatchResult
    from konsul.client.model import BatchServices as BatchServices
    from konsul.client.model import BatchValues as BatchValues
    from konsul.client.model import Check as Check
    from konsul.client.model import Dependencies as Dependencies
    from konsul.client.model import DependencyGraph as DependencyGraph
    from konsul.client.model import GraphNode as GraphNode
    from konsul.client.model import Health as Health
    from konsul.client.model import Impact as Impact
    from konsul.client.model import JoinToken as JoinToken
    from konsul.client.model import KeyValue as KeyValue
    from konsul.client.model import Node as Node
    from konsul.client.model import Operation as Operation
    from konsul.client.model import Peer as Peer
    from konsul.client.model import Service as Service
    from konsul.client.model import ServiceInstance as ServiceInstance
    from konsul.client.model import TransactionResult as TransactionResult
    from konsul.client.model import Version as Version
    from konsul.client.model import Written as Written
    from konsul.client.query_calls import ServicePage as ServicePage
    from konsul.client.session_calls import Acquired as Acquired
    from konsul.client.session_calls import Session as Session
    from konsul.client.settings import Observation as Observation
    from konsul.client.settings import Settings as Settings
    from konsul.client.sync import Client as Client
    from konsul.client.watch import Watch as Watch
    from konsul.client.watch_aio import AsyncWatch as AsyncWatch

HOMES = {
    "aio": ("AsyncClient",),
    "audit_calls": ("AuditPage", "AuditQuery"),
    "auth_calls": ("NewApiKey", "Tokens"),
    "changes": (
        "Behind",
        "ClusterChange",
        "Compacted",
        "Connected",
        "Disconnected",
        "KvChange",
        "Relisted",
        "ServiceChange",
    ),
    "exchange": ("Policy",),
    "failure": ("HttpAnswer",),
    "graphql_calls": ("GraphQLAnswer",),
    "lb_calls": ("BalancingRules", "InstanceLoad", "LoadReport", "Selected"),
    "model": (
        "BatchResult",
        "BatchServices",
        "BatchValues",
        "Check",
        "Dependencies",
        "DependencyGraph",
        "GraphNode",
        "Health",
        "Impact",
        "JoinToken",
        "KeyValue",
        "Node",
        "Operation",
        "Peer",
        "Service",
        "ServiceInstance",
        "TransactionResult",
        "Version",
        "Written",
    ),
    "query_calls": ("ServicePage",),
    "session_calls": ("Acquired", "Session"),
    "settings": ("Observation", "Settings"),
    "sync": ("Client",),
    "watch": ("Watch",),
    "watch_aio": ("AsyncWatch",),
}
MODULE_OF = {name: f"{__name__}.{module}" for module, names in HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    module = MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(module), name)
