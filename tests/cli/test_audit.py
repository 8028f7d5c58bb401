"""`konsulctl audit` against a real server, and against answers that are none of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from konsul.cli import watch
from tests.ask import ask, put
from tests.cli.console import Console
from tests.conftest import LiveServer
from tests.doors.trail import audited_server


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with audited_server(tmp_path_factory.mktemp("audit")) as running:
        for number in range(3):
            put(running.port, f"shown/{number}", "1")
        ask(running.port, "GET", "/kv/shown/absent")
        ask(running.port, "GET", "/kv/shown/%1b%5b2J%c2%9b31m%e2%80%ae")
        yield running


@pytest.fixture
def ctl(console: Console, audited: LiveServer, monkeypatch: pytest.MonkeyPatch) -> Console:
    monkeypatch.setenv("KONSUL_SERVER", audited.base_url)
    return console


def test_list_shows_the_newest_first(ctl: Console) -> None:
    lines = ctl.ok("audit", "list", "--resource", "shown/*", "--action", "kv.set").text.splitlines()
    words = [line.split() for line in lines]
    assert [word[1:] for word in words] == [
        ["success", "200", "kv.set", f"shown/{number}", "anonymous", "127.0.0.1"] for number in (2, 1, 0)
    ]
    assert len(ctl.ok("audit", "list", "--limit", "2").text.splitlines()) == 2
    found = ctl.ok("audit", "list", "--resource", "shown/absent", "--output", "json").json()
    assert [(event["action"], event["result"]) for event in found] == [("kv.get", "denied")]
    assert ctl.ok("audit", "list", "--actor", "nobody").text == "No events found\n"
    table = ctl.ok("audit", "list", "--resource", "shown/0", "--output", "table").text.splitlines()
    assert table[0].split() == ["time", "result", "status", "action", "resource", "actor", "source"]


def test_what_others_chose_does_not_steer_the_terminal(ctl: Console) -> None:
    for command in (("list",), ("tail",), ("tail", "--json"), ("export",)):
        output = ctl("audit", *command).output
        assert not any(byte < 0x20 and byte != 0x0A for byte in output)
        assert b"\xc2\x9b" not in output
        assert "\u202e".encode() not in output
        assert b"u001b" in output


def test_tail_shows_the_newest_last(ctl: Console) -> None:
    lines = ctl.ok("audit", "tail", "--lines", "2", "--action", "kv.set").text.splitlines()
    assert [line.split()[4] for line in lines] == ["shown/1", "shown/2"]
    lines = ctl.ok("audit", "tail", "--lines", "1", "--action", "kv.set", "--json").text.splitlines()
    assert [json.loads(line)["resource"]["id"] for line in lines] == ["shown/2"]


def test_following_shows_what_comes_once(
    ctl: Console, audited: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = iter(range(3))

    def meanwhile(_: float) -> None:
        turn = next(turns, None)
        if turn is None:
            raise KeyboardInterrupt
        put(audited.port, f"followed/{turn}", "1")

    monkeypatch.setattr(watch, "pause_s", meanwhile)
    said = ctl("audit", "tail", "--follow", "--lines", "0", "--resource", "followed/*", "--json")
    assert said.code == 0
    found = [json.loads(line)["resource"]["id"] for line in said.text.splitlines()]
    assert found == ["followed/0", "followed/1", "followed/2"]


def test_export_writes_one_object_per_line_the_oldest_first(ctl: Console) -> None:
    said = ctl("audit", "export", "--action", "kv.set", "--resource", "shown/*", "--since", "1h")
    events = [json.loads(line) for line in said.text.splitlines()]
    assert [event["resource"]["id"] for event in events] == [f"shown/{number}" for number in range(3)]
    assert said.errors == "3 events\n"
    until = events[1]["timestamp"]
    kept = ctl("audit", "export", "--resource", "shown/*", "--until", until, "--quiet")
    assert [json.loads(line)["event_id"] for line in kept.text.splitlines()] == [events[0]["event_id"]]
    assert kept.errors == ""


def test_stats(ctl: Console) -> None:
    text = ctl.ok("audit", "stats").text
    assert "Recorded:" in text
    assert "store:" in text
    assert ctl.ok("audit", "stats", "--output", "json").json()["enabled"] is True


@pytest.mark.parametrize("flag", ["--since", "--until"])
def test_a_time_that_is_none_is_a_usage_error(ctl: Console, flag: str) -> None:
    said = ctl("audit", "list", flag, "yesterday")
    assert (said.code, flag in said.errors, said.output) == (2, True, b"")


def test_a_server_that_records_nothing_says_so(
    console: Console, server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KONSUL_SERVER", server.base_url)
    said = console("audit", "list")
    assert said.code == 3
    assert "KONSUL_AUDIT_ENABLED" in said.errors
