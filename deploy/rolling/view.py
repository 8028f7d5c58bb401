"""The cluster as its nodes tell it, asked of each of them: what a gate decides on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from konsul.client import Client, Policy, Settings
from konsul.errors import KonsulError

ASK_S = 5.0
UNIT_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
PART = re.compile(r"(\d+(?:\.\d*)?)(ms|s|m|h)")


@dataclass(frozen=True)
class NodeView:
    """What one node said, or why it said nothing."""

    status: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""
    uptime_s: float = 0.0
    is_ready: bool = False
    trouble: str = ""

    @property
    def role(self) -> str:
        """Leader, Follower, Candidate, or nothing when it does not answer."""
        return str(self.status.get("state", ""))

    @property
    def leader(self) -> str:
        """Whom it takes for the leader; empty for nobody."""
        return str(self.status.get("leader_id") or "")

    @property
    def term(self) -> int:
        """Its term, 0 when it does not answer."""
        return int(self.status.get("stats", {}).get("term", 0))

    @property
    def committed(self) -> int:
        """Its commit index: a place in the log."""
        return int(self.status.get("commit_index", 0))

    @property
    def applied(self) -> int:
        """How far of the log is in its tables."""
        return int(self.status.get("applied_index", 0))

    @property
    def voters(self) -> frozenset[str]:
        """The voters it knows."""
        peers = self.status.get("peers", ())
        return frozenset(str(peer["id"]) for peer in peers if peer.get("state") == "Voter")

    @property
    def members(self) -> frozenset[str]:
        """The members it knows."""
        return frozenset(str(peer["id"]) for peer in self.status.get("peers", ()))


class Eyes:
    """One client for each node. `token` and `ca_cert` are those of the nodes' API."""

    def __init__(self, addresses: Mapping[str, str], token: str | None, ca_cert: str | None) -> None:
        policy = Policy(deadline_s=ASK_S, retries=0)
        self._clients = {
            name: Client(Settings(address, token=token, ca_cert=ca_cert, policy=policy))
            for name, address in addresses.items()
        }

    def look(self, name: str) -> NodeView:
        """What the node says now; its silence is an answer too."""
        client = self._clients[name]
        try:
            health = client.health()
            return NodeView(
                status=client.cluster.status(),
                version=health.version,
                uptime_s=seconds(health.uptime),
                is_ready=client.ready().ok,
            )
        except KonsulError as error:
            return NodeView(trouble=str(error))

    def look_at_all(self) -> dict[str, NodeView]:
        """What each node says."""
        return {name: self.look(name) for name in self._clients}

    def hand_over(self, leader: str) -> None:
        """Asks the leader to let another lead. Raises KonsulError when it will not."""
        self._clients[leader].cluster.transfer_leader()

    def close(self) -> None:
        """Lets the connections go."""
        for client in self._clients.values():
            client.close()


def seconds(duration: str) -> float:
    """Seconds of a Go duration such as `1h2m3.5s`; 0 for what is none."""
    return sum(float(number) * UNIT_S[unit] for number, unit in PART.findall(duration))
