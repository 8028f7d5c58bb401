"""`konsulctl cluster` health, autopilot, tokens and `--watch` against laid-out answers."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from konsul.cli import watch as watching
from tests.cli.console import Console
from tests.cli.played_cluster import LEADERLESS, STATUS, PlayedCluster, played
from tests.waiting import until

HEALTH = {
    "healthy": True,
    "failure_tolerance": 1,
    "leader": "n1",
    "voters": ["n1", "n2", "n3"],
    "servers": [
        {
            "id": "n1",
            "address": "127.0.0.1:7001",
            "healthy": True,
            "state": "leader",
            "voter": True,
            "connected": True,
            "lag": 0,
            "last_contact_ms": 0,
        },
        {
            "id": "n2",
            "address": "127.0.0.1:7002",
            "healthy": False,
            "state": "follower",
            "voter": True,
            "connected": False,
            "lag": 9,
            "last_contact_ms": 12000,
        },
    ],
}
SETTINGS = {"cleanup_dead_servers": True, "last_contact_threshold": "10s", "max_trailing_logs": 1000}
TOKEN = {
    "id": "0a1b2c3d",
    "token": "s3cret",
    "uses_left": 1,
    "expires_at": "2026-11-22T10:00:00Z",
    "description": "rack 4",
}


@pytest.fixture
def play(console: Console, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedCluster]:
    with played() as play:
        monkeypatch.setenv("KONSUL_SERVER", play.address)
        play.say("GET /cluster/health", HEALTH)
        play.say("GET /cluster/status", STATUS)
        play.say("GET /cluster/autopilot", {"config": SETTINGS, "state": HEALTH})
        play.say("PUT /cluster/autopilot", SETTINGS)
        yield play


def test_health_says_how_each_server_is_and_ends_with_1_when_it_is_bad(
    console: Console, play: PlayedCluster
) -> None:
    lines = console.ok("cluster", "health").text.splitlines()
    assert lines[:4] == ["Cluster:   healthy", "Leader:    n1", "Voters:    n1, n2, n3", "May fail:  1"]
    assert lines[5:] == [
        "Servers (2):",
        "  n1  127.0.0.1:7001  healthy    [Voter]  leader            lag 0  contact 0 ms",
        "  n2  127.0.0.1:7002  unhealthy  [Voter]  follower  silent  lag 9  contact 12000 ms",
    ]
    play.say("GET /cluster/health", HEALTH | {"healthy": False})
    said = console("cluster", "health")
    assert (said.code, said.text.splitlines()[0]) == (1, "Cluster:   unhealthy")
    assert console("cluster", "health", "--output", "json").json()["healthy"] is False


def test_autopilot(console: Console, play: PlayedCluster) -> None:
    shown = console.ok("cluster", "autopilot", "get")
    assert shown.text == "cleanup_dead_servers=true\nlast_contact_threshold=10s\nmax_trailing_logs=1000\n"
    assert console.ok("cluster", "autopilot", "get", "--output", "json").json() == SETTINGS
    state = console.ok("cluster", "autopilot", "state")
    assert state.text == console.ok("cluster", "health").text
    said = console.ok(
        "cluster", "autopilot", "set", "cleanup_dead_servers=false", "last_contact_threshold=5s"
    )
    changed = "cleanup_dead_servers=false, last_contact_threshold=5s"
    assert said.text == f"Successfully changed autopilot: {changed}\n"
    body = {"cleanup_dead_servers": False, "last_contact_threshold": "5s"}
    assert play.last == ("PUT /cluster/autopilot", body)
    assert console("cluster", "autopilot", "set", "nonsense").code == 2
    assert console("cluster", "autopilot", "set").code == 2


@pytest.mark.parametrize("words", [("token", "create"), ("generate-token",)])
def test_a_token_is_printed_alone_so_that_it_goes_into_a_file(
    console: Console, play: PlayedCluster, words: tuple[str, ...]
) -> None:
    play.say("POST /cluster/join-token", TOKEN)
    said = console("cluster", *words, "--ttl", "24h", "--uses", "1", "--description", "rack 4")
    assert (said.code, said.text) == (0, "s3cret\n")
    assert play.last[1] == {"ttl": "24h", "uses": 1, "description": "rack 4"}
    note = "Token 0a1b2c3d expires 2026-11-22 10:00:00 UTC, 1 use left. It is not shown again.\n"
    assert said.errors == note
    assert console("cluster", *words, "--output", "json").json() == TOKEN | {
        "expires_at": "2026-11-22T10:00:00+00:00"
    }
    assert console.ok("cluster", *words, "--quiet").text == "s3cret\n"


def test_tokens_are_listed_without_secrets_and_revoked(console: Console, play: PlayedCluster) -> None:
    secretless = {name: value for name, value in TOKEN.items() if name != "token"}
    play.say("GET /cluster/join-token", {"tokens": [secretless]})
    line = "  0a1b2c3d  expires 2026-11-22 10:00:00 UTC  1 use left  rack 4"
    assert console.ok("cluster", "token", "list").text == f"Join tokens:\n{line}\n"
    assert console.ok("cluster", "token", "list", "--output", "json").json()[0]["id"] == "0a1b2c3d"
    play.say("GET /cluster/join-token", {"tokens": []})
    assert console.ok("cluster", "token", "list").text == "No join tokens found\n"
    play.say("DELETE /cluster/join-token/0a1b2c3d", {"status": "ok"})
    said = console.ok("cluster", "token", "revoke", "0a1b2c3d")
    assert said.text == "Successfully revoked join token: 0a1b2c3d\n"


def test_help_of_a_group_within_the_group(console: Console) -> None:
    assert "revoke" in console.ok("cluster", "token", "--help").text
    assert "--ttl" in console.ok("cluster", "help", "token", "create").text
    assert "NAME=VALUE" in console.ok("cluster", "autopilot", "set", "--help").text
    assert "autopilot" in console.ok("cluster", "--help").text


def test_watch_goes_on_through_trouble_until_interrupted(
    console: Console, play: PlayedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes: list[tuple[int, object]] = [(200, STATUS), (404, {"error": "Not Found"}), (200, LEADERLESS)]
    paused: list[float] = []

    def pause(pause_s: float) -> None:
        paused.append(pause_s)
        if not scenes:
            raise KeyboardInterrupt
        status, body = scenes.pop()
        play.say("GET /cluster/status", body, status)

    monkeypatch.setattr(watching, "pause_s", pause)
    said = console("cluster", "status", "--watch", "--interval", "500ms")
    assert said.code == 0
    assert paused == [0.5] * 4
    assert re.findall(r"Cluster: +(\w+)", said.text) == ["healthy", "unavailable", "healthy"]
    assert "Error getting cluster status" in said.errors
    assert console("cluster", "status", "--watch", "--interval", "never").code == 2


def test_watch_on_a_terminal_shows_the_newest_answer_only(
    console: Console, play: PlayedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    def leave(_: float) -> None:
        raise KeyboardInterrupt

    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(watching, "pause_s", leave)
    from konsul.cli.main import run

    assert run(["cluster", "status", "--watch"]) == 0
    shown = screen.getvalue()
    assert shown.startswith(watching.HOME_AND_CLEAR + "Every 2s, Ctrl-C ends it.")
    assert "\x1b[32m\x1b[1mhealthy, quorum 2 of 2\x1b[0m" in shown
    assert "\x1b[31m\x1b[1mlag 5000\x1b[0m" in shown


def test_ctrl_c_ends_a_watch_of_the_installed_script_cleanly(play: PlayedCluster) -> None:
    command = [sys.executable, "-m", "konsul.cli.main", "cluster", "status", "--watch", "--interval", "20ms"]
    with subprocess.Popen(
        [*command, "--output", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ),
        text=True,
    ) as process:
        until(lambda: len(play.asked) >= 3 or process.poll() is not None, "three questions")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "\n")
    documents = [json.loads(line) for line in output.splitlines()]
    assert len(documents) >= 2
    assert documents[0] == STATUS
