"""`konsulctl health` and `konsulctl version` through a real server, and through one that is gone."""

from __future__ import annotations

import pytest

from konsul import __version__
from konsul.client import Client
from tests.cli.console import Console
from tests.conftest import LiveServer
from tests.process import free_port


def test_the_report(ctl: Console, server: LiveServer) -> None:
    lines = ctl.ok("health", "status").text.splitlines()
    assert "status: healthy" in lines
    assert any(line.startswith("kv_store.total_keys: ") for line in lines)
    assert ctl.ok("health", "status", "--quiet").text == "healthy\n"
    assert ctl.ok("health", "status", "--output", "json").json()["status"] == "healthy"
    assert "total_keys" in ctl.ok("health", "status", "--output", "yaml").text
    assert ctl.ok("health", "status", "--output", "table").text.splitlines()[0].split() == ["name", "value"]
    with Client(server.base_url) as client:
        assert client.health().ok


@pytest.mark.parametrize(("action", "status"), [("live", "alive"), ("ready", "ready")])
def test_the_probes(ctl: Console, action: str, status: str) -> None:
    said = ctl.ok("health", action)
    assert said.text.startswith(f"status: {status}\n")
    assert "\x1b" not in said.text


def test_both_versions(ctl: Console) -> None:
    lines = ctl.ok("version").text.splitlines()
    assert lines[0] == f"konsulctl version {__version__}"
    assert lines[1].startswith("server version ")
    assert set(ctl.ok("version", "--output", "json").json()) == {"client", "server"}
    assert ctl.ok("version", "--client").text == f"konsulctl version {__version__}\n"


@pytest.mark.parametrize(
    ("args", "doing"),
    [
        (["version"], "getting server version"),
        (["health", "status"], "getting health"),
        (["kv", "get", "a"], "getting key"),
        (["service", "list"], "listing services"),
        (["batch", "get", "a"], "getting keys"),
    ],
)
def test_a_server_that_is_gone_is_code_5(console: Console, args: list[str], doing: str) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    said = console(*args, "--server", address)
    assert (said.code, said.output) == (5, b"")
    assert said.errors.startswith(f"Error {doing}: cannot connect to {address}: ")
