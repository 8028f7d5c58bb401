"""The rolling upgrade of a real cluster: all nodes under writes, one that does not come back, a plan."""

from __future__ import annotations

import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from konsul.client import Client, Settings
from tests.cluster.harness.cluster import Cluster
from tests.tidy.tree import ROOT
from tests.waiting import until

RUN_S = 240
pytestmark = pytest.mark.timeout(300)
ORDER = """import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as link:
    link.sendall(" ".join(sys.argv[2:]).encode() + b"\\n")
    sys.exit(0 if link.recv(9) == b"done" else 1)
"""
"""A command of the node file: tells `Hands` what to do with a node, and ends when it is done."""


class Hands:
    """Does with a node what a service manager would, when a command asks for it: restart, stop, start."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.done: list[tuple[str, str]] = []
        self.nodes_file = folder / "nodes.toml"
        self._script = folder / "order.py"
        self._cluster = cluster
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), self._handler())
        self._script.write_text(ORDER)

    def _handler(self) -> type[socketserver.StreamRequestHandler]:
        hands = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                name, what = self.rfile.readline().decode().split()
                node = hands._cluster.nodes[name]
                if node.running():
                    node.stop()
                if what != "stop":
                    node.launch()
                hands.done.append((name, what))
                self.wfile.write(b"done")

        return Handler

    def write_nodes_file(self, upgrade: Callable[[str], str]) -> None:
        """`upgrade` says what is done to a node of that name."""
        port = self._server.server_address[1]
        lines = [f'[commands]\nrestore = "{sys.executable} {self._script} {port} {{id}} start"']
        for name, node in self._cluster.nodes.items():
            command = f"{sys.executable} {self._script} {port} {{id}} {upgrade(name)}"
            lines.append(f'[[node]]\nid = "{name}"\nhttp = "{node.base_url}"\nupgrade = "{command}"')
        self.nodes_file.write_text("\n".join(lines))

    def roll(self, *flags: str) -> subprocess.CompletedProcess[str]:
        """The program, run to its end."""
        command = [sys.executable, "-m", "deploy.rolling_upgrade", str(self.nodes_file), *flags]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=RUN_S, check=False)

    def __enter__(self) -> Hands:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def hands(trio: Cluster, tmp_path: Path) -> Iterator[Hands]:
    with Hands(trio, tmp_path) as hands:
        yield hands


@contextmanager
def writing(cluster: Cluster) -> Iterator[list[str]]:
    """Keys that a client of all nodes wrote, one after the other, while the block ran. None may fail."""
    written: list[str] = []
    wrong: list[BaseException] = []
    enough = threading.Event()
    addresses = ",".join(node.base_url for node in cluster.nodes.values())

    def write() -> None:
        with Client(Settings(addresses)) as client:
            while not enough.is_set():
                key = f"rolling/{len(written)}"
                client.kv.set(key, key)
                written.append(key)

    def guarded() -> None:
        try:
            write()
        except BaseException as error:
            wrong.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    try:
        yield written
    finally:
        enough.set()
        thread.join(60)
    assert wrong == []


def test_every_node_is_restarted_the_leader_last_and_writes_go_on(trio: Cluster, hands: Hands) -> None:
    hands.write_nodes_file(lambda _: "restart")
    leader = trio.until_leader().name
    with writing(trio) as written:
        until(lambda: len(written) > 10, "the first writes")
        rolled = hands.roll()
        after = len(written)
        until(lambda: len(written) > after + 10, "writes afterwards")
    assert rolled.returncode == 0, rolled
    assert sorted(hands.done) == [(name, "restart") for name in sorted(trio.nodes)]
    assert hands.done[-1][0] == leader
    assert rolled.stdout.splitlines()[-1] == "done: 3 nodes upgraded"
    trio.until_alike()
    with Client(trio.nodes["n1"].base_url) as client:
        found = client.kv.get_many(written)
    assert found.not_found == ()


def test_a_plan_touches_nothing(trio: Cluster, hands: Hands) -> None:
    hands.write_nodes_file(lambda _: "restart")
    leader = trio.until_leader().name
    rolled = hands.roll("--dry-run")
    assert (rolled.returncode, hands.done) == (0, []), rolled
    numbered = [line.split() for line in rolled.stdout.splitlines() if line[:1].isdigit()]
    assert len(numbered) == 3
    assert numbered[-1][1] == leader


def test_a_node_that_does_not_come_back_is_restored_and_the_upgrade_stops(
    trio: Cluster, hands: Hands
) -> None:
    victim = trio.followers()[0].name
    hands.write_nodes_file(lambda name: "stop" if name == victim else "restart")
    rolled = hands.roll("--only", victim, "--node-timeout", "10")
    assert rolled.returncode == 1, rolled
    assert hands.done == [(victim, "stop"), (victim, "start")]
    assert f"STOPPED: {victim}: it does not answer" in rolled.stderr
    assert rolled.stderr.rstrip().endswith("it was restored and is back")
    trio.until_alike()


def test_an_unwell_cluster_is_not_touched(trio: Cluster, hands: Hands) -> None:
    hands.write_nodes_file(lambda _: "restart")
    sick = trio.followers()[0]
    sick.kill()
    rolled = hands.roll("--health-timeout", "1")
    assert (rolled.returncode, hands.done) == (1, []), rolled
    assert f"STOPPED: before the next node: {sick.name} does not answer" in rolled.stderr
