"""A network of the kernel's own: each node in a namespace with an address, behind one bridge.

Unlike `links`, this loses real packets: nobody is told that a connection broke, and connecting takes until
somebody gives up. A process that may make namespaces runs it (`unshare -rn`); all ends with that process.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from functools import cache
from types import TracebackType
from typing import Self

from tests.cluster.harness.cluster import Cluster

NET = "10.77.0"
RAFT_PORT, HTTP_PORT = 7_000, 8_888
NOBODY = "02:00:00:00:00:99"
COMMAND_MAX_S = 20


@cache
def may_make_networks() -> bool:
    """Whether a child may have a network of its own; containers sometimes forbid it."""
    probe = ["unshare", "-rn", "sh", "-c", "ip link add a type veth peer name b && ip link add c type bridge"]
    try:
        return subprocess.run(probe, capture_output=True, timeout=COMMAND_MAX_S, check=False).returncode == 0
    except FileNotFoundError:
        return False


class Namespaces:
    """Moves the nodes of a cluster that does not run yet into networks of their own."""

    def __init__(self, cluster: Cluster) -> None:
        self._holders: dict[str, subprocess.Popen[bytes]] = {}
        self._addresses: dict[str, str] = {}
        _do("ip", "link", "set", "lo", "up")
        _do("ip", "link", "add", "bridge", "type", "bridge")
        _do("ip", "address", "add", f"{NET}.254/24", "dev", "bridge")
        _do("ip", "link", "set", "bridge", "up")
        for number, name in enumerate(cluster.nodes, 1):
            self._move(name, number)
        for node in cluster.nodes.values():
            address = self._addresses[node.name]
            others = [other for name, other in self._addresses.items() if name != node.name]
            node.host, node.port = address, HTTP_PORT
            node.before = ("nsenter", "-t", str(self._holders[node.name].pid), "-n")
            node.settings |= {
                "KONSUL_RAFT_BIND_ADDR": f"{address}:{RAFT_PORT}",
                "KONSUL_RAFT_ADVERTISE_ADDR": f"{address}:{RAFT_PORT}",
                "KONSUL_RAFT_JOIN": ",".join(f"{other}:{RAFT_PORT}" for other in others),
                "KONSUL_RAFT_ALLOW_PLAINTEXT": "true",
            }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for holder in self._holders.values():
            holder.kill()
            holder.wait(COMMAND_MAX_S)

    def _move(self, name: str, number: int) -> None:
        # It lives as long as its standard input, and keeps the namespace while the node is down.
        holder = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert holder.stdout is not None
        holder.stdout.readline()
        self._holders[name] = holder
        self._addresses[name] = f"{NET}.{number}"
        _do("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "eth0", "netns", str(holder.pid))
        _do("ip", "link", "set", f"to-{name}", "master", "bridge", "up")
        self._inside(name, "ip", "link", "set", "lo", "up")
        self._inside(name, "ip", "address", "add", f"{NET}.{number}/24", "dev", "eth0")
        self._inside(name, "ip", "link", "set", "eth0", "up")

    def cut(self, source: str, destination: str) -> None:
        """Packets from `source` to `destination` go to a station that is not there."""
        address = self._addresses[destination]
        command = ("ip", "neighbour", "replace", address, "lladdr", NOBODY, "dev", "eth0", "nud", "permanent")
        self._inside(source, *command)

    def part(self, one_side: Iterable[str], other_side: Iterable[str]) -> None:
        """Nothing passes between the two sides, either way."""
        others = list(other_side)
        for one in one_side:
            for other in others:
                self.cut(one, other)
                self.cut(other, one)

    def unplug(self, name: str) -> None:
        """Its cable is out, also for clients."""
        _do("ip", "link", "set", f"to-{name}", "down")

    def heal(self) -> None:
        """Every packet arrives again."""
        for name in self._addresses:
            _do("ip", "link", "set", f"to-{name}", "up")
            self._inside(name, "ip", "neighbour", "flush", "dev", "eth0", "nud", "permanent")

    def _inside(self, name: str, *command: str) -> None:
        _do("nsenter", "-t", str(self._holders[name].pid), "-n", *command)


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_MAX_S, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
