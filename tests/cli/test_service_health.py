"""Checks, health, maintenance, nodes at `konsulctl service` and `konsulctl node`, at a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from konsul.client import Client, Service
from konsul.errors import NotFound
from tests.child import line_with
from tests.cli.console import Console
from tests.cli.test_watch import running
from tests.conftest import LiveServer


@pytest.fixture
def client(server: LiveServer) -> Iterator[Client]:
    with Client(server.base_url) as client:
        yield client
        for one in client.services.list():
            client.services.deregister_all(one.name)
        for node in client.nodes.list():
            client.nodes.delete(node.name)


def two(client: Client) -> None:
    """web with two instances, one of them on node n1."""
    client.services.register(Service("web", "h1", 1, "w1", node="n1", zone="a", ttl="0"))
    client.services.register(Service("web", "h2", 2, "w2", ttl="0"))


def test_every_kind_of_check_can_be_registered(ctl: Console, client: Client) -> None:
    flags = {
        "--check-http": "http://127.0.0.1:1/",
        "--check-tcp": "127.0.0.1:1",
        "--check-udp": "127.0.0.1:1",
        "--check-grpc": "127.0.0.1:1/shop.Cart",
        "--check-script": "probe --deep 'a b'",
        "--check-alias": "node:n1",
        "--check-ttl": "15s",
    }
    words = [word for pair in flags.items() for word in pair]
    place = ["--node", "n1", "--zone", "a", "--ttl", "0", "--id", "w1"]
    timing = ["--check-interval", "5s", "--check-timeout", "2s", "--deregister-after", "10m"]
    said = ctl.ok("service", "register", "web", "h", "1", *place, *words, "--check-ttl", "1m", *timing)
    assert said.text == "Successfully registered service: web at h:1 with 8 health check(s)\n"
    found = ctl.ok("service", "get", "web", "--format", "json").json()
    assert (found["node"], found["zone"], found["health"]) == ("n1", "a", "critical")
    assert "expires_at" not in found
    checks = {check.pop("name"): check for check in found["checks"]}
    assert list(checks) == [f"web-{kind}-check" for kind in ("http", "tcp", "udp", "grpc", "script")] + [
        "web-alias-check",
        "web-ttl-check",
        "web-ttl-check-2",
    ]
    assert checks["web-script-check"]["script"] == ["probe", "--deep", "a b"]
    assert checks["web-alias-check"]["alias_node"] == "n1"
    assert checks["web-grpc-check"]["grpc"] == "127.0.0.1:1/shop.Cart"
    assert {checks[f"web-{kind}-check"]["interval"] for kind in ("http", "tcp", "udp")} == {"5s"}
    assert {check["deregister_critical_after"] for check in checks.values()} == {"10m"}
    del client


@pytest.mark.parametrize(
    ("args", "code", "cause"),
    [
        (["register", "web", "h", "1", "--check-script", "'a"], 2, "No closing quotation"),
        (["register", "web", "h", "1", "--check-http", "gopher://h"], 2, "check validation failed"),
        (["register", "web", "h", "1", "--check-ttl", "soon"], 2, "check validation failed"),
        (["register", "web", "h", "1", "--ttl", "soon"], 2, "ttl"),
        (["register", "web", "h", "1", "--depends-on", "a b"], 2, "dependency validation failed"),
        (["register", "web", "h", "1", "--check-interval", "5s"], 2, "--check-interval needs a check"),
        (["register", "web", "h", "1", "--deregister-after", "5s"], 2, "--deregister-after needs a check"),
        (["list", "--health", "fine"], 2, "--health is 'fine'"),
        (["list", "--health", "any", "--passing"], 2, "--passing cannot be combined"),
        (["maint", "enable", "nobody"], 3, "service not found"),
        (["maint", "enable", "web", "--all", "--id", "x"], 2, "--all cannot be combined"),
        (["maint", "disable", "nobody", "--all"], 3, "service not found"),
        (["get", "nobody", "--health"], 3, "service not found"),
    ],
)
def test_what_cannot_be_is_refused(
    ctl: Console, client: Client, args: list[str], code: int, cause: str
) -> None:
    said = ctl("service", *args)
    assert (said.code, said.output) == (code, b"")
    assert cause in said.errors
    assert client.services.list() == ()


def test_maintenance_takes_an_instance_out_and_puts_it_back(ctl: Console, client: Client) -> None:
    two(client)
    said = ctl.ok("service", "maint", "enable", "web", "--id", "w2", "--reason", "disk")
    assert said.text == "Maintenance enabled for service: web (w2)\n"
    assert ctl.ok("service", "instances", "web").text.splitlines() == [
        "Services:",
        "  web (w1) - h1:1",
        "  web (w2) - h2:2 [critical]",
    ]
    assert ctl.ok("service", "get", "web", "--health").text.splitlines() == [
        "web: critical (1 of 2 serving)",
        "  web (w1) - h1:1 passing",
        "  web (w2) - h2:2 critical",
        "    maintenance mode critical: disk",
    ]
    document = ctl.ok("service", "get", "web", "--health", "--output", "json").json()
    assert (document["health"], document["counts"]) == (
        "critical",
        {"passing": 1, "warning": 0, "critical": 1},
    )
    assert [one["health"] for one in document["instances"]] == ["passing", "critical"]
    assert [one["output"] for one in document["checks"]] == ["disk"]
    assert ctl.ok("service", "instances", "web", "--passing", "--quiet").text == "web (w1) - h1:1\n"
    assert ctl.ok("service", "list", "--health", "serving", "--quiet").text == "web (w1) - h1:1\n"
    assert len(ctl.ok("service", "list", "--health", "any", "--quiet").text.splitlines()) == 2
    table = ctl.ok("service", "instances", "web", "--output", "table").text.splitlines()
    assert (table[0].split()[-1], table[2].split()[-1]) == ("health", "critical")
    ctl.ok("service", "maint", "enable", "web", "--all", "--quiet")
    assert ctl.ok("service", "list", "--passing", "--quiet").text == ""
    said = ctl.ok("service", "maint", "disable", "web", "--all")
    assert said.text == "Maintenance disabled for service: web (w1, w2)\n"
    assert len(ctl.ok("service", "list", "--passing", "--quiet").text.splitlines()) == 2


def test_an_instance_tells_that_its_node_is_why(ctl: Console, client: Client) -> None:
    two(client)
    ctl.ok("node", "maint", "enable", "n1", "--reason", "disk swap")
    told = ctl.ok("service", "get", "web", "--health").text.splitlines()
    assert told[1:] == [
        "  web (w1) - h1:1 critical",
        "    node n1: maintenance mode critical: disk swap",
        "  web (w2) - h2:2 passing",
    ]


def test_an_address_with_colons_stands_in_brackets(ctl: Console, client: Client) -> None:
    said = ctl.ok("service", "register", "web", "fd00::7", "80")
    assert said.text == "Successfully registered service: web at [fd00::7]:80\n"
    for words in (["list"], ["instances", "web"], ["query", "--name", "web"]):
        assert ctl.ok("service", *words).text == "Services:\n  web - [fd00::7]:80\n"
    assert client.services.get("web").service.address == "fd00::7"


def test_nodes_are_listed_set_shown_and_deleted(ctl: Console, client: Client) -> None:
    assert ctl.ok("node", "list").text == "No nodes found\n"
    two(client)
    ctl.ok("node", "set", "n1", "--address", "10.0.0.1", "--zone", "a", "--meta", "rack=7")
    assert ctl.ok("node", "set", "n2", "--zone", "b").text == "Successfully set node: n2\n"
    assert [line.split() for line in ctl.ok("node", "list").text.splitlines()] == [
        ["NAME", "ADDRESS", "ZONE", "HEALTH", "META"],
        ["n1", "10.0.0.1", "a", "passing", "rack=7"],
        ["n2", "b", "passing"],
    ]
    found = ctl.ok("node", "list", "--filter", 'Zone == "b"', "--output", "json").json()
    assert [one["name"] for one in found] == ["n2"]
    shown = ctl.ok("node", "get", "n1", "--output", "json").json()
    assert [one["id"] for one in shown["instances"]] == ["w1"]
    assert "zone: a\n" in ctl.ok("node", "get", "n1").text
    ctl.ok("node", "delete", "n1")
    assert ctl.ok("service", "instances", "web", "--quiet").text == "web (w2) - h2:2\n"
    for words in (["get", "n1"], ["delete", "n1"]):
        said = ctl("node", *words)
        assert (said.code, said.errors.endswith("node: node not found: n1\n")) == (3, True)
    assert ctl("node", "list", "--filter", "Zone ==").code == 2


def test_a_node_in_maintenance_takes_its_instances_with_it(ctl: Console, client: Client) -> None:
    two(client)
    said = ctl.ok("node", "maint", "enable", "n1", "--reason", "kernel")
    assert said.text == "Maintenance enabled for node: n1\n"
    assert ctl.ok("service", "list", "--passing", "--quiet").text == "web (w2) - h2:2\n"
    assert ctl.ok("node", "list", "--output", "json").json()[0]["health"] == "critical"
    ctl.ok("node", "maint", "disable", "n1")
    assert len(ctl.ok("service", "list", "--passing", "--quiet").text.splitlines()) == 2
    assert ctl("node", "maint", "enable", "n9").code == 3


def test_a_watch_of_what_passes_tells_what_ceases_to(
    client: Client, server: LiveServer, tmp_path: Path
) -> None:
    two(client)
    args = ("service", "watch", "web", "--passing", "--initial", "--server", server.base_url)
    with running(tmp_path, *args, "--output", "json") as process:
        line_with(process, '"id": "w1"')
        line_with(process, '"id": "w2"')
        client.services.maintenance("web", instance="w2")
        gone = json.loads(line_with(process, '"deregister"'))
        assert gone["service"]["id"] == "w2"
        client.services.maintenance("web", False, instance="w2")
        come = json.loads(line_with(process, '"register"'))
        assert come["service"]["id"] == "w2"


def test_a_check_of_a_node_that_is_not_there_is_not_made(client: Client) -> None:
    with pytest.raises(NotFound):
        client.nodes.maintenance("nowhere")
