"""A cluster of real processes: formed, asked, hurt and healed by a test.

with Cluster(folder, 3) as cluster:
    leader = cluster.until_leader()
    leader.kill()
    cluster.until_leader(besides=leader)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.cluster.harness.dialers import owner
from tests.cluster.harness.links import Links
from tests.cluster.harness.node import Node
from tests.waiting import until

FORM_S = 90.0
SETTLE_S = 60.0
LIGHT: dict[str, str] = {
    "KONSUL_RAFT_HEARTBEAT_TIMEOUT": "60ms",
    "KONSUL_RAFT_ELECTION_TIMEOUT": "600ms",
    "KONSUL_AUTOPILOT_SERVER_STABILIZATION_TIME": "200ms",
    "KONSUL_RAFT_SEGMENT_BYTES": "1MiB",
    "KONSUL_DISK_RESERVE_BYTES": "1MiB",
    "KONSUL_LOG_FORMAT": "json",
    "KONSUL_ACCESS_LOG": "off",
}
"""Settings that keep the nodes of a test light and quick; not so quick that a busy machine elects leaders."""


class Cluster:
    """`size` nodes named n1, n2, ... on free ports of this machine, each with a folder below `folder`.

    expect: they find each other by `bootstrap-expect`; else n1 bootstraps and the others join it.
    through_links: peers reach each other through `links` only, so that the test can cut them; else directly.
    settings: `KONSUL_*` variables of every node, over `LIGHT`.
    """

    def __init__(
        self,
        folder: Path,
        size: int = 3,
        *,
        settings: Mapping[str, str] | None = None,
        expect: bool = True,
        through_links: bool = True,
    ) -> None:
        self.folder = folder
        self.settings = LIGHT | dict(settings or {})
        self.links: Links | None = Links(self._who_dials) if through_links else None
        self.nodes: dict[str, Node] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, size + 1):
            self.add(f"n{number}")
        for node in self.nodes.values():
            if expect:
                node.settings["KONSUL_RAFT_BOOTSTRAP_EXPECT"] = str(size)
                node.settings["KONSUL_RAFT_JOIN"] = ",".join(self.addresses(besides=node))
            elif node.name == "n1":
                node.settings["KONSUL_RAFT_BOOTSTRAP"] = "true"
            else:
                node.settings["KONSUL_RAFT_JOIN"] = self.address(self.nodes["n1"])

    def __enter__(self) -> Self:
        try:
            self.start()
            self.until_members(*self.nodes)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, name: str, settings: Mapping[str, str] | None = None) -> Node:
        """A further node, not launched yet; it knows no other unless `settings` say whom it joins."""
        node = Node(name, self.folder, self.settings)
        node.settings |= {
            "KONSUL_RAFT_ENABLED": "true",
            "KONSUL_RAFT_NODE_ID": name,
            "KONSUL_RAFT_BIND_ADDR": f"127.0.0.1:{node.raft_port}",
            "KONSUL_RAFT_ADVERTISE_ADDR": f"127.0.0.1:{node.raft_port}",
        }
        if self.links is not None:
            dialed = self.links.listen(name, node.raft_port)
            node.settings["KONSUL_RAFT_ADVERTISE_ADDR"] = f"127.0.0.1:{dialed}"
        node.settings |= dict(settings or {})
        self.nodes[name] = node
        return node

    def address(self, node: Node) -> str:
        """The raft address under which the others know it."""
        return node.settings["KONSUL_RAFT_ADVERTISE_ADDR"]

    def addresses(self, besides: Node | None = None) -> list[str]:
        return [self.address(node) for node in self.nodes.values() if node is not besides]

    def _who_dials(self, client_port: int, our_port: int) -> str | None:
        pids = {node.pid: node.name for node in self.nodes.values() if node.pid}
        found = owner(client_port, our_port, pids)
        return None if found is None else pids[found]

    def start(self) -> None:
        """Launches every node and waits until all are ready.

        Raises:
            AssertionError: they were not in time; holds the ends of their logs.
        """
        for node in self.nodes.values():
            if not node.running():
                node.launch()
        self.until_ready(deadline_s=FORM_S)

    def until_ready(self, *nodes: Node, deadline_s: float = SETTLE_S) -> None:
        """Waits until the given nodes, or all, are ready to serve."""
        waiting = list(nodes or self.nodes.values())
        self._until(lambda: _all_ready(waiting), f"{[node.name for node in waiting]} to be ready", deadline_s)

    def leader(self) -> Node | None:
        """The node that says it leads, in the highest term that any says."""
        found: tuple[int, Node] | None = None
        for node in self.nodes.values():
            status = node.status()
            if status is not None and status["state"] == "Leader":
                term = int(status["stats"]["term"])
                if found is None or term > found[0]:
                    found = (term, node)
        return None if found is None else found[1]

    def until_leader(self, *, besides: Node | None = None, deadline_s: float = SETTLE_S) -> Node:
        """The leader, once there is one that is not `besides`."""
        found: list[Node] = []

        def there() -> bool:
            leader = self.leader()
            if leader is not None and leader is not besides:
                found.append(leader)
            return bool(found)

        but = "" if besides is None else f" that is not {besides.name}"
        self._until(there, f"a leader{but}", deadline_s)
        return found[-1]

    def term(self) -> int:
        """The leader's term."""
        status = self.until_leader().status()
        assert status is not None
        return int(status["stats"]["term"])

    def followers(self) -> list[Node]:
        """Every running node but the leader."""
        leader = self.until_leader()
        return [node for node in self.nodes.values() if node is not leader and node.pid and not node.paused]

    def until_members(self, *names: str, role: str = "Voter", deadline_s: float = SETTLE_S) -> None:
        """Waits until the leader counts exactly `names` among its members of `role`."""
        wanted = set(names)

        def there() -> bool:
            leader = self.leader()
            return leader is not None and members(leader, role) == wanted

        self._until(there, f"the members with role {role} to be {sorted(wanted)}", deadline_s)

    def until_alike(self, *nodes: Node, deadline_s: float = SETTLE_S) -> tuple[int, str]:
        """Waits until the given nodes, or all, hold the same tables at the same index; returns both."""
        compared = list(nodes or self.nodes.values())
        seen: list[tuple[int, str] | None] = []

        def same() -> bool:
            seen[:] = [node.digest() for node in compared]
            return None not in seen and len(set(seen)) == 1

        try:
            self._until(same, "the same tables everywhere", deadline_s)
        except AssertionError as error:
            held = {node.name: digest for node, digest in zip(compared, seen, strict=False)}
            raise AssertionError(f"{held}\n{error}") from None
        assert seen[0] is not None
        return seen[0]

    def heal(self) -> None:
        """Whatever a test did to it: links open, paused ones go on, dead ones start, all ready and alike."""
        if self.links is not None:
            self.links.heal()
        for node in self.nodes.values():
            node.resume()
        self.start()
        self.until_leader()
        self.until_alike()

    def forget(self, node: Node) -> None:
        """Ends a node of a test's own; the cluster was told before that it is gone."""
        node.kill()
        del self.nodes[node.name]

    def close(self) -> None:
        """Ends every process and connection."""
        for node in self.nodes.values():
            node.kill()
        if self.links is not None:
            self.links.close()

    def logs(self) -> str:
        """The end of every node's log."""
        return "\n".join(f"--- {node.name}\n{node.log_tail()}" for node in self.nodes.values())

    def _until(self, condition: Any, what: str, deadline_s: float) -> None:
        try:
            until(condition, what, deadline_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from None


def members(node: Node, role: str = "Voter") -> set[str]:
    """The names of the members of `role` (Voter, Nonvoter), as `node` knows them."""
    answer = node.asked("GET", "/cluster/peers")
    if answer is None or answer.status != 200:
        return set()
    return {str(peer["id"]) for peer in answer.json()["peers"] if peer["state"] == role}


def _all_ready(nodes: Iterable[Node]) -> bool:
    for node in nodes:
        if node.process is not None and not node.running():
            raise AssertionError(f"{node.name} ended with {node.exit_status()}:\n{node.log_tail()}")
        if not node.is_ready():
            return False
    return True
