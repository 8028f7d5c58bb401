"""konsulctl check against a real server."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.checks.counting import Counting
from tests.cli.console import Console
from tests.process import free_port
from tests.waiting import until


@pytest.fixture
def target() -> Iterator[Counting]:
    with Counting() as running:
        yield running


@pytest.fixture
def service(ctl: Console) -> str:
    name = f"web-{free_port()}"
    ctl.ok("service", "register", name, "127.0.0.1", "80", "--ttl", "1h")
    return name


def test_a_ttl_check_is_made_told_listed_and_deleted(ctl: Console, service: str) -> None:
    made = ctl.ok("check", "create", "--service", service, "--id", f"{service}-t", "--ttl", "1h")
    assert made.text == f"Successfully created check: {service}-t\n"
    for verb, words, status in (
        ("pass", "Check {} passes\n", "passing"),
        ("warn", "Check {} warns\n", "warning"),
        ("fail", "Check {} fails\n", "critical"),
    ):
        assert ctl.ok("check", verb, f"{service}-t", f"said {verb}").text == words.format(f"{service}-t")
        found = ctl.ok("--output", "json", "check", "get", f"{service}-t").json()
        assert (found["status"], found["output"]) == (status, f"said {verb}")
    text = ctl.ok("check", "list", "--service", service).text
    assert text.splitlines()[0].split() == ["ID", "NAME", "STATUS", "TYPE", "OF", "OUTPUT"]
    assert text.splitlines()[1].split() == [
        f"{service}-t",
        f"{service}-ttl-check",
        "critical",
        "ttl",
        service,
        "said",
        "fail",
    ]
    assert ctl.ok("check", "list", "--service", service, "--status", "passing").text == "No checks found\n"
    history = ctl.ok("check", "history", f"{service}-t").text
    assert history.startswith(f"{service}-t: critical\n")
    assert "passing -> warning  said warn" in history
    assert history.endswith("\nResults:\n  none\n"), "nobody runs it"
    assert ctl.ok("check", "delete", f"{service}-t").text == f"Successfully deleted check: {service}-t\n"
    assert ctl.ok("check", "list", "--service", service).text == "No checks found\n"


def test_a_check_that_runs_shows_its_results(ctl: Console, service: str, target: Counting) -> None:
    ctl.ok(
        *("check", "create", "--service", service, "--id", f"{service}-h", "--name", "up"),
        *("--http", f"{target.url}/up", "--interval", "100ms", "--header", "X-Who: konsulctl"),
        *("--expect-status", "200", "--failures", "2", "--notes", "of the tests"),
    )
    until(
        lambda: ctl.ok("--output", "json", "check", "get", f"{service}-h").json()["status"] == "passing",
        "the check to pass",
    )
    shown = ctl.ok("check", "get", f"{service}-h").text
    for line in ("name: up", "status: passing", "type: http", "interval: 0.1s", "notes: of the tests"):
        assert line in shown.splitlines(), shown
    history = ctl.ok("check", "history", f"{service}-h").text
    assert "critical -> passing" in history
    assert "run by " in history.splitlines()[0]
    assert ctl.ok("--output", "table", "check", "history", f"{service}-h").text
    target.status = 500
    ill = f'Service == "{service}" and Status == "critical"'
    until(
        lambda: ctl.ok("check", "list", "--filter", ill).text != "No checks found\n",
        "the check to be critical",
    )


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["check", "create", "--service", "web"], 2, "give one of --http, --tcp"),
        (["check", "create", "--service", "web", "--tcp", "a:1", "--ttl", "1m"], 2, "give one of"),
        (["check", "create", "--tcp", "a:1"], 2, "give --service or --node"),
        (["check", "create", "--service", "web", "--tcp", "a:1", "--header", "x"], 2, "is not NAME:VALUE"),
        (["check", "create", "--service", "no-such", "--tcp", "a:1"], 3, "service not found"),
        (["check", "pass", "no-such-check"], 2, "check not found"),
        (["check", "get", "no-such-check"], 3, "check not found"),
        (["check", "delete", "no-such-check"], 3, "check not found"),
    ],
)
def test_what_cannot_be_done_is_said(ctl: Console, words: list[str], code: int, error: str) -> None:
    said = ctl(*words)
    assert said.output == b""
    assert error in said.errors
    assert said.code == code


def test_a_node_has_checks(ctl: Console, service: str) -> None:
    node = socket.gethostname().lower().replace("_", "-")[:40] or "node"
    ctl.ok("service", "register", service, "127.0.0.1", "80", "--node", node, "--ttl", "1h")
    ctl.ok("check", "create", "--node", node, "--id", f"{service}-n", "--ttl", "1h")
    text = ctl.ok("check", "list", "--node", node).text
    assert text.splitlines()[1].split()[:5] == [f"{service}-n", f"{node}-ttl-check", "critical", "ttl", node]
