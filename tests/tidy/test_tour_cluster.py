"""The README's three nodes: its commands as they are printed, with the leader killed among them."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ask import ask
from tests.cluster.harness.ports import steady_port
from tests.tidy.tree import ROOT
from tests.waiting import until

README = (ROOT / "README.md").read_text(encoding="utf-8")
START = re.compile(r"^konsul --port .*$", re.MULTILINE)
BLOCK = re.compile(r"^```console cluster\n(.*?)^```", re.DOTALL | re.MULTILINE)
PORT = re.compile(r"\b(888\d|889\d|700\d|860\d)\b")
FORM_S = 90.0
BIN = Path(sys.executable).parent


class Terminals:
    """The README's nodes, each a process as if typed into a terminal of its own, on ports that are free."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ports: dict[str, str] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def here(self, text: str) -> str:
        """A printed line with ports of this run."""
        return PORT.sub(lambda found: self._ports.setdefault(found[1], str(steady_port())), text)

    def start(self) -> None:
        """Runs every printed `konsul`."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("KONSUL_")}
        for line in START.findall(README):
            words = shlex.split(self.here(line))
            name = words[words.index("--raft-node-id") + 1]
            with (self.folder / f"{name}.log").open("wb") as log:
                self.processes[name] = subprocess.Popen(
                    [str(BIN / words[0]), *words[1:]],
                    cwd=self.folder,
                    env=kept | {"KONSUL_RAFT_SEGMENT_BYTES": "1MiB", "KONSUL_DISK_RESERVE_BYTES": "1MiB"},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )

    def leader(self) -> str:
        """Who leads three voters, by every node's word; empty as long as they do not all say so."""
        found = set()
        for port in ("8888", "8889", "8890"):
            try:
                answer = ask(int(self.here(port)), "GET", "/cluster/status", timeout_s=5)
            except OSError:
                return ""
            if answer.status != 200:
                return ""
            status = answer.json()
            voters = sum(peer["state"] == "Voter" for peer in status["peers"])
            found.add(str(status["leader_id"]) if voters == 3 else "")
        return found.pop() if len(found) == 1 else ""

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait(30)

    def type(self, line: str) -> str:
        """What a printed command prints. Raises AssertionError, with everything it said, if it fails."""
        environment = {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder),
            "NO_COLOR": "1",
        }
        words = shlex.split(self.here(line))
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def logs(self) -> str:
        """The ends of the nodes' logs."""
        return "\n".join(path.read_text("utf-8", "replace")[-3000:] for path in self.folder.glob("*.log"))


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Terminals]:
    terminals = Terminals(tmp_path)
    try:
        terminals.start()
        yield terminals
    finally:
        for process in terminals.processes.values():
            process.kill()
            process.wait(30)


def test_three_nodes_by_the_printed_commands_survive_the_death_of_their_leader(terminals: Terminals) -> None:
    assert len(terminals.processes) == 3
    try:
        until(terminals.leader, "three voters that agree who leads", FORM_S)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{terminals.logs()}") from None
    leader = terminals.leader() or "n1"
    (block,) = BLOCK.findall(README)
    commands = [line[2:] for line in block.splitlines() if line.startswith("$ ")]
    said = []
    for command in commands:
        if command.startswith("pkill -9 -f 'raft-node-id "):
            terminals.kill(leader)
            said.append("")
        else:
            said.append(terminals.type(command))
    assert re.search(r"Cluster: +healthy, quorum 2 of 3", said[0])
    assert said[4] == "again\n"
    status = said[-1]
    assert re.search(r"Cluster: +(healthy|degraded), quorum 2 of 3", status)
    assert re.search(rf"^- {leader} .* silent", status, re.MULTILINE)
    assert not re.search(rf"Leader ID: +({leader}|none)\n", status)
