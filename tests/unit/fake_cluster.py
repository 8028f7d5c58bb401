"""Nodes without consensus: they call each other, and share a list of members once they are in a cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from konsul.calls import Caller, Handlers
from konsul.engine import Engine, Options
from konsul.errors import Conflict, KonsulError, NoLeader, NotFound, Unreachable
from konsul.features.cluster.formation import Formation
from konsul.features.cluster.membership import administer
from konsul.kernel.config import Config, load
from konsul.kernel.settings import GROUPS


@dataclass
class Realm:
    """One cluster: its members by raft id, and who leads."""

    cluster_id: str
    members: dict[int, dict[str, Any]] = field(default_factory=dict)
    leader: int = 0

    def change(self, op: dict[str, Any]) -> None:
        raft_id = op["raft_id"]
        record = {name: value for name, value in op.items() if name != "op"}
        match op["op"]:
            case "add":
                self.members[raft_id] = record | {"role": "learner"}
            case "update":
                self.members[raft_id] |= record
            case "promote" | "demote":
                self.members[raft_id]["role"] = "voter" if op["op"] == "promote" else "learner"
            case "remove":
                del self.members[raft_id]


@dataclass
class Wire:
    """Who listens where; what is down does not answer."""

    nodes: dict[str, FakeEngine] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    next_raft_id: int = 100
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """`(from, to, kind)` of every call."""


class FakeEngine:
    """What features ask of an engine that is in a cluster."""

    def __init__(self, wire: Wire, name: str) -> None:
        self.wire = wire
        wire.next_raft_id += 1
        self.raft_id = wire.next_raft_id
        self.address = f"{name}:7000"
        self.options = Options(
            data_dir="", backend="memory", cluster=True, node_name=name, bind_addr=self.address, version="1"
        )
        self.handlers = Handlers()
        self.realm: Realm | None = None
        self.log_version = 1
        self.silent_ms: dict[int, int] = {}
        wire.nodes[self.address] = self

    def cluster(self) -> dict[str, Any]:
        realm = self.realm
        is_in = realm is not None and self.raft_id in realm.members
        leads = realm is not None and realm.leader == self.raft_id
        return {
            "state": "unformed" if realm is None else "formed" if is_in else "removed",
            "cluster_id": realm.cluster_id if realm else "",
            "node_id": self.options.node_name,
            "raft_id": self.raft_id,
            "leader_raft_id": realm.leader if realm and is_in else 0,
            "known_leader": bool(realm and realm.leader and is_in),
            "quorum": 1,
            "log_version": self.log_version,
            "members": [
                record
                | {"connected": True}
                | ({"last_contact_ms": self._silent_ms(raft_id)} if leads else {})
                for raft_id, record in (realm.members if realm else {}).items()
            ],
        }

    def _silent_ms(self, raft_id: int) -> int:
        return self.silent_ms.get(raft_id, 0)

    def count(self, _table: int) -> int:
        return 0

    def get(self, _table: int, _key: bytes) -> None:
        return None

    async def call(self, target: int | str, kind: str, body: dict[str, Any], _timeout_ms: int = 0) -> Any:
        found = [one for one in self.wire.nodes.values() if target in (one.raft_id, one.address)]
        if not found or found[0].address in self.wire.down:
            raise Unreachable(f"{target} does not answer")
        self.wire.asked.append((self.address, found[0].address, kind))
        is_member = found[0].realm is not None and self.raft_id in found[0].realm.members
        caller = Caller(self.raft_id if is_member else 0, self.address)
        return await found[0].handlers.find(kind, caller)(caller, body)

    async def bootstrap(self, _timeout_ms: int = 0) -> None:
        if self.realm is not None:
            raise Conflict("it is in a cluster")
        own = {"raft_id": self.raft_id, "node_id": self.options.node_name, "address": self.address}
        rest = {"http_address": "", "zone": "", "version": "1", "log_version": 1, "read_only": False}
        self.realm = Realm(
            f"{self.raft_id:016x}", {self.raft_id: own | rest | {"role": "voter"}}, self.raft_id
        )

    async def adopt(self, cluster_id: str, _timeout_ms: int = 0) -> None:
        realms = {one.realm.cluster_id: one.realm for one in self.wire.nodes.values() if one.realm}
        if cluster_id not in realms:
            raise NotFound("there is no such cluster")
        self.realm = realms[cluster_id]

    async def change_members(self, op: dict[str, Any], _timeout_ms: int = 0) -> None:
        if self.realm is None or self.realm.leader != self.raft_id:
            raise NoLeader("this node does not lead")
        self.realm.change(op)

    async def transfer(self, raft_id: int = 0, _timeout_ms: int = 0) -> None:
        assert self.realm is not None
        voters = [one for one, record in self.realm.members.items() if record["role"] == "voter"]
        self.realm.leader = raft_id or next(one for one in voters if one != self.raft_id)


class FakeNode:
    """A node on the wire that answers the questions of the cluster feature."""

    def __init__(self, wire: Wire, name: str, **settings: str) -> None:
        environ = {"KONSUL_RAFT_ENABLED": "true", "KONSUL_RAFT_NODE_ID": name}
        environ |= {f"KONSUL_RAFT_{key}": text for key, text in settings.items()}
        self.config: Config = load(GROUPS, environ=environ)
        self.fake = FakeEngine(wire, name)
        self.engine = cast(Engine, self.fake)
        self.formation = Formation(self.engine, self.config)
        self.fake.handlers.add("hello", self.formation.hello, open=True)
        self.fake.handlers.add("join", self.formation.join, open=True)
        self.fake.handlers.add("invite", self.formation.invite, open=True)
        self.fake.handlers.add("admin", self._administer)

    async def _administer(self, _: Caller, body: dict[str, Any]) -> dict[str, Any]:
        return await administer(self.engine, self.config, body)

    @property
    def names(self) -> set[str]:
        """The members it knows, by name."""
        return {one["node_id"] for one in self.fake.cluster()["members"]}


async def refusal(doing: Any) -> KonsulError | None:
    """What a coroutine was refused with."""
    try:
        await doing
    except KonsulError as error:
        return error
    return None
