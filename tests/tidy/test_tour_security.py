"""docs/operate/security.md, done as it is written: its file, its ten commands, and what they promise."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ask import ask
from tests.process import free_port
from tests.tidy.tree import ROOT
from tests.waiting import until

PAGE = (ROOT / "docs" / "operate" / "security.md").read_text(encoding="utf-8")
FILE = re.compile(r"^```toml konsul\.toml\n(.*?)^```", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"^```console production\n(.*?)^```", re.DOTALL | re.MULTILINE)
PORT = "8888"
BIN = Path(sys.executable).parent


class Terminal:
    """A directory, an environment that `export` changes, and the node that runs in the background."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = str(free_port())
        kept = {name: value for name, value in os.environ.items() if not name.startswith("KONSUL_")}
        self.environ = kept | {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "NO_COLOR": "1",
            "KONSUL_DNS_PORT": "0",
            "KONSUL_RAFT_SEGMENT_BYTES": "1MiB",
            "KONSUL_DISK_RESERVE_BYTES": "1MiB",
        }
        self.node: subprocess.Popen[bytes] | None = None
        (found,) = FILE.findall(PAGE)
        (folder / "konsul.toml").write_text(found.replace(PORT, self.port), encoding="utf-8")
        (folder / "deploy").symlink_to(ROOT / "deploy")

    def type(self, line: str) -> str:
        """What a printed command prints. Raises AssertionError, with everything it said, if it fails."""
        line = line.replace(PORT, self.port)
        if line.endswith("&"):
            self._start(line.removesuffix("&").split())
            return ""
        if line.startswith("export "):
            self.environ |= dict(word.split("=", 1) for word in line.split()[1:])
            return ""
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}\n{self.log()}"
        return done.stdout

    def _start(self, words: list[str]) -> None:
        with (self.folder / "node.log").open("wb") as log:
            self.node = subprocess.Popen(
                words, cwd=self.folder, env=self.environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        until(lambda: "\tready\t" in self.log() or self._ended(), "the node to be ready")
        assert not self._ended(), self.log()

    def _ended(self) -> bool:
        return self.node is not None and self.node.poll() is not None

    def log(self) -> str:
        path = self.folder / "node.log"
        return path.read_text("utf-8", "replace")[-4_000:] if path.exists() else ""

    def close(self) -> None:
        if self.node is not None:
            self.node.send_signal(signal.SIGKILL)
            self.node.wait(30)


def commands() -> list[list[str]]:
    return [
        [line[2:] for line in block.splitlines() if line.startswith("$ ")] for block in BLOCK.findall(PAGE)
    ]


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """After the ten commands."""
    terminal = Terminal(tmp_path_factory.mktemp("production"))
    ten, _ = commands()
    assert len(ten) == 10
    try:
        for line in ten:
            terminal.type(line)
        yield terminal
    finally:
        terminal.close()


def test_ten_commands_make_a_guarded_node(terminal: Terminal) -> None:
    _, then = commands()
    said = {line: terminal.type(line) for line in then}
    whoami, _, denied, explained, trail = said.values()
    assert "alice" in whoami
    assert "denied" in denied.lower() or "false" in denied.lower()
    assert "app/secrets/**" in explained
    assert "kv.set" in trail
    # What only a user of this machine's account may read.
    for name in ("jwt.secret", "alice.password", "admin.key", "ci.key", "n1-key.pem", "audit/audit.log"):
        assert (terminal.folder / name).stat().st_mode & 0o077 == 0, name
    secrets = [(terminal.folder / name).read_text().strip() for name in ("jwt.secret", "admin.key", "ci.key")]
    log = (terminal.folder / "node.log").read_text("utf-8")
    assert [secret for secret in secrets if secret in log] == []


def test_who_is_not_named_gets_nothing(terminal: Terminal) -> None:
    for line, refusal in (
        ("konsulctl kv list --api-key-file bad.key", "invalid API key"),
        ("konsulctl kv get app/secrets/db --api-key-file ci.key", "insufficient permissions"),
        ("konsulctl user list --api-key-file ci.key", "insufficient permissions"),
        ("HOME=/nonexistent konsulctl kv list", "missing authorization header"),
        ("konsulctl auth bootstrap --out again.key", ""),
    ):
        (terminal.folder / "bad.key").write_text("konsul_" + "0" * 64)
        (terminal.folder / "bad.key").chmod(0o600)
        with pytest.raises(AssertionError) as refused:
            terminal.type(line)
        assert refusal in str(refused.value), line
    # Plain text on the port of TLS is told so, and learns nothing.
    with pytest.raises((OSError, AssertionError)):
        assert ask(int(terminal.port), "GET", "/kv").status == 200
