"""What the compose file and `make cluster` start, as processes of this machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import local_cluster
from tests.ask import ask
from tests.cluster.harness.ports import steady_port
from tests.process import Server
from tests.tidy.tree import ROOT
from tests.waiting import until

DOCKER = ROOT / "deploy" / "docker"
NODES = ("n1", "n2", "n3")
FORM_S = 90.0
LIGHT = {
    "KONSUL_RAFT_SEGMENT_BYTES": "1MiB",
    "KONSUL_DISK_RESERVE_BYTES": "1MiB",
    "KONSUL_RAFT_PROFILE": "fast",
}


def status(port: int) -> dict[str, Any]:
    """What a node says of its cluster; empty while it does not answer."""
    try:
        answer = ask(port, "GET", "/cluster/status", timeout_s=5)
    except OSError:
        return {}
    return dict(answer.json()) if answer.status == 200 else {}


def until_formed(ports: list[int], output: Any) -> None:
    def formed() -> bool:
        found = [status(port) for port in ports]
        return all(one.get("leader_id") and one.get("cluster_state") == "healthy" for one in found) and all(
            sum(peer["state"] == "Voter" for peer in one["peers"]) == len(ports) for one in found
        )

    try:
        until(formed, "a healthy cluster", FORM_S)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{output()}") from None


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """What the compose file's first service makes."""
    folder = tmp_path / "certs"
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "CERTS": str(folder),
        "OWNER": f"{os.getuid()}:{os.getgid()}",
        "HOME": str(tmp_path),
    }
    script = ["sh", str(DOCKER / "make-certs.sh"), *NODES]
    subprocess.run(script, env=environment, check=True, capture_output=True, timeout=60)
    return folder


@pytest.fixture
def composed(tmp_path: Path, certificates: Path) -> Iterator[list[Server]]:
    """The nodes of the compose file with its settings; only hosts and folders are this machine's."""
    services = yaml.safe_load((DOCKER / "compose.yml").read_text(encoding="utf-8"))["services"]
    ports = {name: steady_port() for name in NODES}

    def here(name: str, text: str) -> str:
        text = re.sub(r"\b(n\d):7000", lambda found: f"127.0.0.1:{ports[found[1]]}", text)
        return text.replace("0.0.0.0:7000", f"127.0.0.1:{ports[name]}").replace(
            "/app/certs", str(certificates / name)
        )

    servers = []
    for name in NODES:
        environment = {key: here(name, value) for key, value in services[name]["environment"].items()}
        servers.append(Server(tmp_path / name, LIGHT | environment))
    try:
        for server in servers:
            server.launch()
        yield servers
    finally:
        for server in servers:
            server.kill()


def test_the_nodes_of_the_compose_file_form_a_cluster_over_tls(composed: list[Server]) -> None:
    until_formed([server.port for server in composed], lambda: "\n".join(one.output() for one in composed))
    config = ask(composed[0].port, "GET", "/cluster/config").json()
    assert config["tls_enabled"] is True


def test_make_cluster_runs_three_nodes_and_stops_them_on_ctrl_c(tmp_path: Path) -> None:
    ports = [steady_port() for _ in range(2)]
    # Consecutive ports from a drawn one: the chance that somebody takes one of them meanwhile is small.
    http, raft = ports[0], ports[1]
    command = [
        *(sys.executable, "-m", "deploy.local_cluster", "--data", str(tmp_path / "data")),
        *("--port", str(http), "--raft-port", str(raft), "--dns-port", "0"),
    ]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ | LIGHT
    ) as run:
        try:
            logs = tmp_path / "data"
            until_formed(
                [http, http + 1, http + 2],
                lambda: "\n".join(path.read_text() for path in logs.glob("*.log")),
            )
        finally:
            run.send_signal(signal.SIGINT)
            output, _ = run.communicate(timeout=60)
    assert run.returncode == 0
    lines = output.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["n1", "n2", "n3"]
    assert re.fullmatch(r"n\d leads", lines[3])
    for port in (http, http + 1, http + 2):
        assert status(port) == {}


def test_the_command_that_starts_a_node_again_is_one_that_konsul_takes(tmp_path: Path) -> None:
    places = local_cluster.places(3, tmp_path)
    words = local_cluster.command(places[1], places)
    assert words[0] == "konsul"
    flags = dict(zip(words[1::2], words[2::2], strict=True))
    assert flags["--raft-join"] == "127.0.0.1:7001,127.0.0.1:7003"
    asked = subprocess.run(
        [sys.executable, "-m", "konsul.server", "--help"], capture_output=True, text=True, check=True
    )
    assert [flag for flag in flags if f"{flag} " not in asked.stdout] == []
