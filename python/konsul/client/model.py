"""What the client hands out and takes in: frozen values, no behaviour beyond reading themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One key with its value and bookkeeping. `expires_at` is None for a key that stays. `read_index`: what
    the server that was read had seen; 0 in listings. Give it to `get` to wait for what comes after.
    `session` holds its lock; empty: nobody. `lock_index` rises with each holder; 0: it was never locked."""

    key: str
    value: bytes
    flags: int = 0
    create_index: int = 0
    modify_index: int = 0
    expires_at: datetime | None = None
    read_index: int = field(default=0, compare=False)
    session: str = ""
    lock_index: int = 0

    @property
    def text(self) -> str:
        """The value as UTF-8 text; raises UnicodeDecodeError when it is not text."""
        return self.value.decode()


@dataclass(frozen=True, slots=True)
class Written:
    """An acknowledged write: the row's new `modify_index` (0 where the server names none, as for a
    delete)."""

    key: str
    modify_index: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """A health check of a service. Give exactly one of `http`, `tcp`, `grpc`, `udp`, `ttl`, `script`,
    `alias_service`, `alias_node`; durations are Go text (`30s`)."""

    name: str = ""
    id: str = ""
    http: str = ""
    tcp: str = ""
    grpc: str = ""
    ttl: str = ""
    interval: str = ""
    timeout: str = ""
    udp: str = ""
    script: tuple[str, ...] = ()
    alias_service: str = ""
    alias_node: str = ""
    method: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    expected_status: str = ""
    expected_body: str = ""
    grpc_use_tls: bool = False
    tls_skip_verify: bool = False
    tls_server_name: str = ""
    success_before_passing: int = 0
    failures_before_critical: int = 0
    failures_before_warning: int = 0
    deregister_critical_after: str = ""
    initial_status: str = ""
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """A service as it is registered. `id` names the instance; empty means the only one, called like the
    service. `ttl` is Go text; `0` holds it without heartbeats, empty leaves it to the server. `dependencies`
    None leaves alone what the service declared before; they and `ttl` are not in what is read."""

    name: str
    address: str
    port: int
    id: str = ""
    tags: tuple[str, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    node: str = ""
    zone: str = ""
    ttl: str = ""
    dependencies: tuple[str, ...] | None = None

    @property
    def instance(self) -> str:
        """The instance id in force: `id`, or the name where none was given."""
        return self.id or self.name


@dataclass(frozen=True, slots=True)
class ServiceInstance:
    """A registered instance with its bookkeeping. `health`: passing, warning or critical; empty where the
    server does not tell."""

    service: Service
    create_index: int = 0
    modify_index: int = 0
    expires_at: datetime | None = None
    health: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A machine that instances are on. `document` holds everything the server sent, such as its instances and
    checks."""

    name: str
    address: str = ""
    zone: str = ""
    meta: Mapping[str, str] = field(default_factory=dict)
    health: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What a service declared to depend on, and which services declared to depend on it."""

    service: str
    dependencies: tuple[str, ...] = ()
    dependents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A service in a graph. `health` is the worst of its instances, `absent` without any. `depth`: in a graph
    the longest chain below it, in an impact the steps away."""

    name: str
    health: str
    passing: int = 0
    warning: int = 0
    critical: int = 0
    depth: int = 0


@dataclass(frozen=True, slots=True)
class DependencyGraph:
    """Services and what they need, as `(from, to)`. `order`: every service after all that it needs."""

    nodes: tuple[GraphNode, ...]
    edges: tuple[tuple[str, str], ...]
    order: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Impact:
    """What a failure of a service would reach, and what it depends on itself, over any number of steps."""

    service: GraphNode
    dependents: tuple[GraphNode, ...]
    dependencies: tuple[GraphNode, ...]


@dataclass(frozen=True, slots=True)
class BatchValues:
    """The answer of a bulk read: what was found, and the names that were not."""

    found: Mapping[str, bytes]
    not_found: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BatchServices:
    """The answer of a bulk service read."""

    found: Mapping[str, Service]
    not_found: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The answer of a bulk write. `failed` maps a name to its reason; a KV batch never fails in part."""

    count: int
    requests: int
    failed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One step of a transaction. `index` is the expected modify_index of a check (0: the key is absent);
    `session` who locks, unlocks or must hold the key."""

    type: Literal["check", "set", "delete", "get", "lock", "unlock", "check-session"]
    key: str
    value: bytes | None = None
    index: int | None = None
    flags: int | None = None
    ttl: str | None = None
    session: str | None = None


@dataclass(frozen=True, slots=True)
class TransactionResult:
    """An applied transaction: its index, and the rows its `get` steps saw, in their order."""

    modify_index: int
    rows: tuple[KeyValue, ...]


@dataclass(frozen=True, slots=True)
class Health:
    """What a probe said. `document` holds everything the server sent."""

    status: str
    ok: bool
    version: str = ""
    uptime: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Version:
    """Versions of both sides."""

    client: str
    server: str


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a listing. `after` continues it; None says that this page was the last."""

    items: tuple[T, ...]
    after: str | None


Document = dict[str, Any]
"""What the server answered, as it is."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A member of the cluster. `state` is Voter, Nonvoter or Staging; `document` holds everything sent."""

    id: str
    address: str
    state: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JoinToken:
    """A token to join with. `token`, the secret, is only there when it is made. None: without that bound."""

    id: str
    token: str = field(default="", repr=False)
    uses_left: int | None = None
    expires_at: datetime | None = None
    description: str = ""
