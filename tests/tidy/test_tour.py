"""Every command of the README's tour works as it is printed, against a real server."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.ask import ask
from tests.conftest import LiveServer
from tests.process import Server
from tests.security.guarded import Guarded
from tests.tidy.tree import ROOT
from tests.waiting import until

BLOCK = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
SNIPPET = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
PORT = "localhost:8888"


def shown(page: str) -> list[str]:
    """The commands of a page's console blocks, in order."""
    blocks = BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    # As it is by default, but on any port: the harness has DNS off.
    settings = {"KONSUL_DNS_ENABLED": "true", "KONSUL_DNS_PORT": "0"}
    with Server(tmp_path_factory.mktemp("tour") / "data", settings) as started:
        yield started


def as_curl(words: list[str]) -> str:
    """What curl would print, on a machine that does not have it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-s", action="store_true")
    parser.add_argument("-X", default="GET")
    parser.add_argument("-H", action="append", default=[])
    parser.add_argument("-d")
    parser.add_argument("url")
    given = parser.parse_args(words)
    address, _, path = given.url.partition("/")
    body = None if given.d is None else given.d.encode()
    answer = ask(int(address.rpartition(":")[2]), given.X, f"/{path}", body)
    return answer.body.decode()


def run(command: str, port: int, home: Path) -> str:
    """What the command prints. Raises AssertionError, with everything it said, if it fails."""
    words = shlex.split(command.replace(PORT, f"127.0.0.1:{port}"))
    if words[0] == "curl" and shutil.which("curl") is None:
        return as_curl(words[1:])
    bin_dir = Path(sys.executable).parent
    environment = {
        "PATH": f"{bin_dir}{os.pathsep}{os.environ['PATH']}",
        "KONSUL_SERVER": f"http://127.0.0.1:{port}",
        "HOME": str(home),
        "NO_COLOR": "1",
    }
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("page", ["README.md", "docs/start.md", "docs/concepts/health.md"])
def test_the_shown_commands_work(server: Server, tmp_path: Path, page: str) -> None:
    commands = shown(page)
    assert len(commands) >= 5, "the page shows hardly anything"
    for command in commands:
        run(command, server.port, tmp_path)


def test_the_shown_python_works(server: Server, tmp_path: Path) -> None:
    (code,) = SNIPPET.findall((ROOT / "docs" / "start.md").read_text(encoding="utf-8"))
    script = tmp_path / "shown.py"
    script.write_text(code.replace("127.0.0.1:8888", f"127.0.0.1:{server.port}"), encoding="utf-8")
    assert "green" in run(f"python {script}", server.port, tmp_path)


def test_the_tour_says_what_it_promises(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as fresh:
        answers = {command: run(command, fresh.port, tmp_path) for command in shown("README.md")}
    first, row, _, port_value, listing, won, lost, *_ = answers.values()
    assert json.loads(first) == {"key": "app/db", "message": "key set", "modify_index": 1}
    assert json.loads(row)["value"] == "postgres"
    assert port_value == "5432\n"
    assert "app/db" in listing
    assert json.loads(won)["message"] == "key set"
    assert json.loads(lost)["error"] == "CAS conflict"


def families(port: int) -> list[str]:
    """The series of our own that a server has."""
    return families_of(ask(port, "GET", "/metrics").body.decode())


def families_of(page: str) -> list[str]:
    return re.findall(r"^# TYPE (konsul_\w+) ", page, re.M)


def families_over_tls(folder: Path) -> list[str]:
    """Those of a server with a certificate of its own."""
    server = LiveServer(folder, {"KONSUL_TLS_ENABLED": "true", "KONSUL_TLS_AUTO_CERT": "true"})
    # Nobody can know the certificate before it is there.
    server.context = ssl._create_unverified_context()  # noqa: S323 - see above
    with server:
        return families_of(
            httpx.get(f"{server.base_url}/metrics", verify=server.context, trust_env=False).text
        )


def test_every_metric_of_a_running_server_is_in_its_reference(
    server: Server, lone_leader: Server, tmp_path: Path
) -> None:
    ask(server.port, "GET", "/kv")
    until(lambda: "konsul_autopilot_failure_tolerance" in families(lone_leader.port), "autopilot's series")
    found = {*families(server.port), *families(lone_leader.port)}
    with Guarded(tmp_path / "guarded", {"KONSUL_RATE_LIMIT_ENABLED": "true"}) as guarded:
        guarded.furnish()
        found |= {*families(guarded.port), *families_over_tls(tmp_path / "tls")}
    text = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    assert len(found) > 10
    assert [name for name in sorted(found) if f"`{name}`" not in text] == []
    assert sorted(set(re.findall(r"`(konsul_\w+)`", text)) - found) == []
