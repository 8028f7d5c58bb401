"""`konsulctl lb` against a real server: what is printed, in every form, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.cli.console import Console
from tests.doors.test_lb_rules import register

USAGE, NOT_FOUND, CONFLICT = 2, 3, 4


@pytest.fixture
def web(http: httpx.Client) -> str:
    """A service of a blue and a green instance."""
    for colour in ("blue", "green"):
        register(http, "web", id=colour, tags=[colour], meta={"colour": colour})
    http.delete("/lb/rules/web")
    return "web"


def test_select(ctl: Console, web: str) -> None:
    text = ctl.ok("lb", "select", web, "--strategy", "ring-hash", "--session", "s").text
    assert text in ("web (blue) - 10.0.0.1:80\n", "web (green) - 10.0.0.1:80\n")
    document = ctl.ok("lb", "select", web, "--limit", "2", "--passing", "--output", "json").json()
    assert {one["id"] for one in document["services"]} == {"blue", "green"}
    assert document["strategy"] == "round-robin"
    table = ctl.ok("lb", "select", web, "--limit", "2", "--output", "table").text.splitlines()
    assert table[0].split() == ["name", "id", "address", "port", "tags"]
    missing = ctl("lb", "select", "none")
    assert missing.code == NOT_FOUND, missing
    assert "no service instances available" in missing.errors.lower()
    wrong = ctl("lb", "select", web, "--strategy", "best")
    assert (wrong.code, "Must be one of" in wrong.errors) == (USAGE, True)


def test_strategy(ctl: Console) -> None:
    assert ctl.ok("lb", "strategy").text == "round-robin\n"
    assert ctl.ok("lb", "strategy", "random").text == "Strategy of the server asked: random\n"
    assert ctl.ok("lb", "strategy", "--output", "json").json() == {"strategy": "random"}
    ctl.ok("lb", "strategy", "round-robin", "--quiet")
    assert ctl("lb", "strategy", "best").code == USAGE


def test_rules(ctl: Console, web: str, tmp_path: Path) -> None:
    assert ctl.ok("lb", "rules", "set", web, "--strategy", "random", "--warning", "drop").text == (
        "Successfully set rules: web\n"
    )
    assert json.loads(ctl.ok("lb", "rules", "get", web).text) == {"strategy": "random", "warning": "drop"}
    assert ctl.ok("lb", "rules", "list").text == "web: random, warning=drop\n"
    file = tmp_path / "rules.json"
    rules = [{"name": "blue", "tags": ["blue"]}, {"name": "green", "tags": ["green"]}]
    file.write_text(json.dumps({"rules": rules, "active": "blue", "zone": {"prefer": True}}))
    written = ctl.ok("lb", "rules", "set", web, f"@{file}", "--output", "json").json()
    assert written["rules"]["active"] == "blue"
    assert ctl.ok("lb", "rules", "list").text == "web: zone first, blue*, green\n"
    table = ctl.ok("lb", "rules", "list", "--output", "table").text.splitlines()
    assert table[0].split() == ["service", "rules", "modify_index"]
    assert ctl.ok("lb", "switch", web, "green").text == "Successfully switched web to green\n"
    assert "(green)" in ctl.ok("lb", "select", web).text
    assert ctl("lb", "switch", web, "red").code == USAGE
    assert ctl("lb", "rules", "delete", web, "--cas", "1").code == CONFLICT
    ctl.ok("lb", "rules", "delete", web)
    assert ctl("lb", "rules", "get", web).code == NOT_FOUND
    assert ctl.ok("lb", "rules", "list").text == "No rules found\n"
    for arguments in ((), ("{}", "--strategy", "random"), ("{",), ("@/nowhere",), ('{"x":1}',)):
        assert ctl("lb", "rules", "set", web, *arguments).code == USAGE, arguments


def test_canary(ctl: Console, web: str) -> None:
    said = ctl.ok("lb", "canary", web, "100", "--tag", "green", "--meta", "colour=green")
    assert said.text == "Successfully set canary of web: 100 % of the requests\n"
    document = ctl.ok("lb", "select", web, "--output", "json").json()
    assert (document["rule"], document["services"][0]["id"]) == ("canary", "green")
    assert ctl.ok("lb", "rules", "list").text == "web: canary 100%\n"
    ctl.ok("lb", "canary", web, "0", "--tag", "green")
    assert "(blue)" in ctl.ok("lb", "select", web).text
    assert ctl("lb", "canary", web, "101", "--tag", "green").code == USAGE
    assert ctl("lb", "canary", web, "5").code == USAGE
    assert ctl("lb", "canary", web, "5", "--meta", "colour").code == USAGE


def test_reports_and_loads(ctl: Console, web: str) -> None:
    said = ctl.ok("lb", "report", web, "--id", "blue", "--connections", "7", "--latency-ms", "2.5")
    assert said.text == "Successfully reported on web\n"
    lines = ctl.ok("lb", "loads", web).text.splitlines()
    assert lines[0].split() == ["ID", "CONNECTIONS", "CLIENTS", "ASSIGNED", "LATENCY_MS", "AGE_MS"]
    assert lines[1].split()[:5] == ["blue", "7", "1", "0", "2.5"]
    assert lines[2].split() == ["green", "0", "0", "0", "-", "-"]
    found = ctl.ok("lb", "loads", web, "--output", "json").json()
    assert [one["connections"] for one in found] == [7, 0]
    assert "(green)" in ctl.ok("lb", "select", web, "--strategy", "least-connections").text
    assert ctl("lb", "report", web, "--id", "gone", "--connections", "1").code == NOT_FOUND
    assert ctl("lb", "report", web).code == USAGE
    assert ctl("lb", "loads", "none").code == NOT_FOUND
