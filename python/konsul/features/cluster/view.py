"""The cluster as this node sees it: the engine's status, typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from konsul.engine import Engine

UNFORMED: Final = "unformed"
FORMED: Final = "formed"
REMOVED: Final = "removed"
RECORD: Final = ("node_id", "address", "http_address", "zone", "version", "log_version", "read_only")
"""What a node says about itself, besides its raft id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member. What only the leader knows is None elsewhere."""

    raft_id: int
    node_id: str
    address: str
    http_address: str = ""
    zone: str = ""
    version: str = ""
    log_version: int = 0
    read_only: bool = False
    role: str = "voter"
    connected: bool = False
    match_index: int | None = None
    last_contact_ms: int | None = None
    progress: str | None = None

    @property
    def votes(self) -> bool:
        """True for a voter."""
        return self.role == "voter"

    def record(self) -> dict[str, Any]:
        """What is replicated of it."""
        return {"raft_id": self.raft_id} | {name: getattr(self, name) for name in RECORD}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The cluster at one moment."""

    state: Literal["unformed", "formed", "removed"]
    cluster_id: str
    node_id: str
    raft_id: int
    leader_raft_id: int
    known_leader: bool
    last_contact_ms: int
    transferring: bool
    quorum: int
    members: tuple[Member, ...]

    @property
    def leads(self) -> bool:
        """True on the leader."""
        return self.known_leader and self.leader_raft_id == self.raft_id

    @property
    def leader(self) -> Member | None:
        """The leader, None while none is known."""
        return self.by_raft_id(self.leader_raft_id) if self.known_leader else None

    @property
    def voters(self) -> list[Member]:
        """Who votes."""
        return [member for member in self.members if member.votes]

    def by_raft_id(self, raft_id: int) -> Member | None:
        """The member with this raft id."""
        return next((member for member in self.members if member.raft_id == raft_id), None)

    def by_name(self, node_id: str) -> Member | None:
        """The member with this name."""
        return next((member for member in self.members if member.node_id == node_id), None)

    def by_address(self, address: str) -> Member | None:
        """The member found at this raft address."""
        return next((member for member in self.members if member.address == address), None)


_FIELDS: Final = tuple(Member.__dataclass_fields__)


def read(cluster: Mapping[str, Any]) -> View:
    """The view in the engine's `cluster` object; members this version does not know are left out."""
    members = [
        Member(**{name: member[name] for name in _FIELDS if name in member}) for member in cluster["members"]
    ]
    return View(
        state=cluster["state"],
        cluster_id=cluster.get("cluster_id") or "" if cluster["state"] != UNFORMED else "",
        node_id=cluster["node_id"],
        raft_id=cluster["raft_id"],
        leader_raft_id=cluster["leader_raft_id"] or 0,
        known_leader=cluster["known_leader"],
        last_contact_ms=cluster.get("last_contact_ms") or 0,
        transferring=cluster.get("transferring", False),
        quorum=cluster.get("quorum", 0),
        members=tuple(sorted(members, key=lambda member: (member.node_id, member.raft_id))),
    )


def view_of(engine: Engine) -> View:
    """The cluster now. Cheap."""
    return read(engine.cluster())
