"""`konsulctl service` through a real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from konsul.client import Client, Service
from tests.cli.console import Console
from tests.conftest import LiveServer


@pytest.fixture(autouse=True)
def _empty(server: LiveServer) -> Iterator[None]:
    yield
    with Client(server.base_url) as client:
        for one in client.services.list():
            client.services.deregister_all(one.name)


def test_a_service_is_registered_listed_and_deregistered(ctl: Console) -> None:
    assert ctl.ok("service", "list").text == "No services found\n"
    said = ctl.ok("service", "register", "web", "10.0.0.1", "80")
    assert said.text == "Successfully registered service: web at 10.0.0.1:80\n"
    assert ctl.ok("service", "list").text == "Services:\n  web - 10.0.0.1:80\n"
    assert ctl.ok("service", "heartbeat", "web").text == "Successfully sent heartbeat for service: web\n"
    assert ctl.ok("service", "deregister", "web").text == "Successfully deregistered service: web\n"
    assert ctl.ok("service", "deregister", "web").text == "Successfully deregistered service: web\n"
    said = ctl("service", "heartbeat", "web")
    assert (said.code, said.errors) == (3, "Error sending heartbeat: service not found\n")


def test_everything_a_registration_can_carry(ctl: Console) -> None:
    checks = ["--check-http", "http://10.0.0.1/", "--check-tcp", "10.0.0.1:80", "--check-ttl", "15s"]
    said = ctl.ok(
        "service", "register", "web", "10.0.0.1", "80", "--tag", "a", "--tag=b", "--meta", "team=x=y", *checks
    )
    assert said.text == "Successfully registered service: web at 10.0.0.1:80 with 3 health check(s)\n"
    found = ctl.ok("service", "get", "web", "--output", "json").json()
    assert (found["tags"], found["meta"]) == (["a", "b"], {"team": "x=y"})
    assert [one["name"] for one in found["checks"]] == ["web-http-check", "web-tcp-check", "web-ttl-check"]
    assert found["modify_index"] > 0
    assert "expires_at" in found
    text = ctl.ok("service", "get", "web").text
    assert "name: web\n" in text
    assert "tags: a,b\n" in text


def test_instances_and_queries(ctl: Console, server: LiveServer) -> None:
    with Client(server.base_url) as client:
        client.services.register(Service("web", "h1", 1, "w1", ("blue",), {"zone": "a"}))
        client.services.register(Service("web", "h2", 2, "w2", ("blue", "new"), {"zone": "b"}))
        client.services.register(Service("db", "h3", 3, tags=("blue",)))
    assert ctl.ok("service", "instances", "web").text == "Services:\n  web (w1) - h1:1\n  web (w2) - h2:2\n"
    assert ctl.ok("service", "get", "web", "--output", "json").json()["id"] == "w1"
    assert (
        ctl.ok("service", "query", "--tag", "blue", "--quiet").text
        == "db - h3:3\nweb (w1) - h1:1\nweb (w2) - h2:2\n"
    )
    assert ctl.ok("service", "query", "--tag", "blue", "--tag", "new", "--quiet").text == "web (w2) - h2:2\n"
    assert (
        ctl.ok("service", "query", "--tag", "blue", "--meta", "zone=a", "--quiet").text == "web (w1) - h1:1\n"
    )
    assert ctl.ok("service", "query", "--meta", "zone=c").text == "No services found\n"
    table = ctl.ok("service", "list", "--output", "table").text.splitlines()
    assert table[0].split() == ["name", "id", "address", "port", "tags", "meta"]
    assert table[2].split() == ["web", "w1", "h1", "1", "blue", "zone=a"]
    ctl.ok("service", "heartbeat", "web", "--id", "w2")
    ctl.ok("service", "deregister", "web", "--id", "w1")
    assert [one["id"] for one in ctl.ok("service", "instances", "web", "--output", "json").json()] == ["w2"]
    assert ctl("service", "deregister", "web", "--all", "--id", "w2").code == 2
    ctl.ok("service", "deregister", "web", "--all")
    assert ctl("service", "instances", "web").code == 3


def test_compare_and_set(ctl: Console) -> None:
    created = ctl.ok("service", "register", "web", "h", "1", "--cas", "0", "--output", "json").json()
    said = ctl("service", "register", "web", "h", "2", "--cas", "0")
    assert said.code == 4
    assert said.errors.startswith("Error registering service: server error: CAS conflict for service 'web'")
    index = created["modify_index"]
    changed = ctl.ok("service", "register", "web", "h", "2", "--cas", str(index), "--output", "json").json()
    assert ctl("service", "deregister", "web", "--cas", str(index)).code == 4
    assert ctl.ok("service", "deregister", "web", "--cas", str(changed["modify_index"])).code == 0


@pytest.mark.parametrize(
    ("args", "errors"),
    [
        (["get", "absent"], "Error getting service: service not found\n"),
        (["instances", "absent"], "Error getting instances: service not found\n"),
        (["heartbeat", "absent"], "Error sending heartbeat: service not found\n"),
        (["deregister", "absent", "--cas", "1"], "Error deregistering service: service not found\n"),
    ],
)
def test_what_is_absent_is_code_3(ctl: Console, args: list[str], errors: str) -> None:
    said = ctl("service", *args)
    assert (said.code, said.output, said.errors) == (3, b"", errors)


@pytest.mark.parametrize(
    ("args", "cause"),
    [
        (["web", "h", "0"], "service port"),
        (["web", "h", "65536"], "service port"),
        (["web", "", "1"], "service address"),
        (["", "h", "1"], "service name"),
        (["web", "h", "1", "--tag", "a b"], "tag validation failed: invalid tag format: a b"),
        (["web", "h", "1", "--meta", "_x=1"], "metadata validation failed: reserved metadata key: _x"),
    ],
)
def test_refused_registrations_are_code_2(ctl: Console, args: list[str], cause: str) -> None:
    said = ctl("service", "register", *args)
    assert (said.code, said.output) == (2, b"")
    assert said.errors.startswith(f"Error registering service: server error: Bad Request - {cause}")
