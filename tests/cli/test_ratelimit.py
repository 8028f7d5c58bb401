"""`konsulctl ratelimit` against a real server: what is printed, in every form, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from konsul.cli import watch
from tests.cli.console import Console
from tests.conftest import LiveServer
from tests.doors.rate_limited import BURST, address, caller, limited, spend


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("rates")
    with limited(folder / "data", KONSUL_RATE_LIMIT_BY_APIKEY="true") as running:
        yield running


@pytest.fixture
def client(server: LiveServer) -> str:
    """An address that has asked twice."""
    new = address()
    with caller(server, new) as http:
        spend(http, 2)
    return new


def test_stats(ctl: Console, client: str) -> None:
    document = ctl.ok("ratelimit", "stats", "--output", "json").json()
    ips = document["ip_limiters"]
    assert ips >= 1
    text = ctl.ok("ratelimit", "stats").text
    assert text.startswith("Rate Limit Statistics:\n")
    assert [line.split() for line in text.splitlines()[1:4]] == [
        ["IP", "limiters:", str(ips)],
        ["API", "key", "limiters:", "0"],
        ["User", "limiters:", "0"],
    ]
    assert "%)" in text
    table = ctl.ok("ratelimit", "stats", "--output", "table").text.splitlines()
    assert table[0].split() == ["type", "clients", "allowed", "exceeded", "whitelisted", "blacklisted"]


def test_config(ctl: Console) -> None:
    assert ctl.ok("ratelimit", "config").text == (
        "Rate Limit Configuration:\n"
        "  Enabled:             true\n"
        "  Requests per second: 0.001\n"
        "  Burst:               10\n"
        "  By IP:               true\n"
        "  By API key:          true\n"
        "  Cleanup interval:    5m0s\n"
    )
    assert ctl.ok("ratelimit", "config", "--output", "json").json()["requests_per_sec"] == 0.001


def test_clients_and_client(ctl: Console, client: str) -> None:
    text = ctl.ok("ratelimit", "clients", "--type", "ip").text
    assert text.startswith("Active Rate-Limited Clients: ")
    assert f"  Identifier:  {client}\n  Type:        ip\n  Tokens:      8.0" in text
    assert ctl.ok("ratelimit", "clients", "--type", "apikey").text == "No active rate-limited clients\n"
    one = ctl.ok("ratelimit", "client", client).text.splitlines()
    assert one[0].split() == ["Identifier:", client]
    assert one[2].split()[2:] == ["/", "10"]
    assert one[-1].split() == ["Capacity:", "80%"]
    said = ctl("ratelimit", "client", "192.0.2.254")
    assert (said.code, said.errors) == (3, "Error getting client status: client not found: 192.0.2.254\n")
    assert ctl("ratelimit", "clients", "--type", "x").code == 2


def test_status(ctl: Console, client: str) -> None:
    text = ctl.ok("ratelimit", "status", "--ip", client).text
    assert "Allowed:     2\n" in text
    assert "Blacklisted: false\n" in text
    shown = ctl.ok("ratelimit", "status", "--type", "ip", "--id", client, "--output", "json").json()
    assert (shown["allowed"], shown["denied"], shown["whitelisted"]) == (2, 0, False)
    assert "Whitelisted: true\n" in ctl.ok("ratelimit", "status", "--ip", "127.0.0.1").text
    assert ctl("ratelimit", "status", "--apikey", "nobody").code == 3


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--ip", "10.0.0.1", "--apikey", "k"],
        ["--id", "10.0.0.1"],
        ["--type", "ip"],
        ["--type", "x", "--id", "y"],
    ],
)
def test_a_client_must_be_named_once(ctl: Console, flags: list[str]) -> None:
    for action in (["status"], ["adjust", "--rate", "1", "--burst", "1"], ["blacklist", "add"], ["restore"]):
        assert ctl("ratelimit", *action, *flags).code == 2


def test_reset(ctl: Console, client: str) -> None:
    assert ctl.ok("ratelimit", "reset", "ip", client).text == (
        f"Successfully reset rate limit for IP: {client}\n"
    )
    assert ctl("ratelimit", "client", client).code == 3
    assert ctl.ok("ratelimit", "reset", "apikey", "k1").text == (
        "Successfully reset rate limit for API key: k1\n"
    )
    assert ctl.ok("ratelimit", "reset", "user", "u1").text == "Successfully reset rate limit for user: u1\n"
    assert ctl.ok("ratelimit", "reset", "all", "--type", "ip").text == (
        "Successfully reset all ip rate limiters\n"
    )
    assert ctl.ok("ratelimit", "reset", "all").text == "Successfully reset all rate limiters\n"
    assert ctl("ratelimit", "reset", "all", "--type", "x").code == 2


def test_update(ctl: Console, server: LiveServer) -> None:
    said = ctl("ratelimit", "update", "--rate", "50.5", "--burst", "60")
    assert (said.code, said.text) == (
        0,
        "Configuration updated successfully\n  Requests per second: 50.5\n  Burst:               60\n",
    )
    assert "every server" in said.errors
    with caller(server) as http:
        assert http.get("/kv/nothing").headers["x-ratelimit-limit"] == "60"
    quiet = ctl("ratelimit", "update", "--rate", "0.001", "--burst", str(BURST), "--quiet")
    assert (quiet.code, quiet.text, quiet.errors) == (0, "", "")
    restored = ctl("ratelimit", "update", "--defaults").text
    assert restored == (
        "Configuration restored successfully\n  Requests per second: 0.001\n  Burst:               10\n"
    )
    for flags in ([], ["--defaults", "--burst", "3"]):
        assert ctl("ratelimit", "update", *flags).code == 2
    refused = ctl("ratelimit", "update", "--burst", "0")
    assert (refused.code, "burst must be greater than 0" in refused.errors) == (2, True)


def test_adjust_and_restore(ctl: Console, client: str) -> None:
    said = ctl.ok("ratelimit", "adjust", "--type", "ip", "--id", client, "--rate", "2.5", "--burst", "7")
    assert said.text == (
        "Rate limit adjusted successfully\n"
        "  Type:       ip\n"
        f"  Identifier: {client}\n"
        "  Rate:       2.5 requests/sec\n"
        "  Burst:      7\n"
        "  Duration:   1h\n"
    )
    shown = ctl.ok("ratelimit", "status", "--ip", client).text
    assert "/ 7\n" in shown
    assert "Own rate until:" in shown
    assert ctl.ok("ratelimit", "restore", "--ip", client).text == (
        f"Successfully restored rate limit for ip: {client}\n"
    )
    assert ctl("ratelimit", "restore", "--ip", client).code == 3
    assert (
        ctl("ratelimit", "adjust", "--ip", client, "--rate", "1", "--burst", "1", "--duration", "x").code == 2
    )


@pytest.mark.parametrize("name", ["whitelist", "blacklist"])
def test_lists(ctl: Console, name: str) -> None:
    assert ctl.ok("ratelimit", "blacklist", "list").text == "No blacklist entries\n"
    added = ctl.ok("ratelimit", name, "add", "--ip", "192.0.2.0/24", "--reason", "a test").text.splitlines()
    assert added[0] == f"Successfully added to {name}: 192.0.2.0/24 (ip)"
    rows = dict(line.strip().split(":", 1) for line in added[1:])
    assert (rows["Reason"].strip(), rows["Added by"].strip()) == ("a test", "unknown")
    assert (rows["Expires"].strip() == "Never") is (name == "whitelist")
    text = ctl.ok("ratelimit", name, "list").text
    assert text.startswith(f"{name.capitalize()} entries: ")
    assert "\n192.0.2.0/24 (ip)\n  Reason:" in text
    listed = ctl.ok("ratelimit", name, "list", "--output", "json").json()
    assert "192.0.2.0/24" in [one["identifier"] for one in listed]
    table = ctl.ok("ratelimit", name, "list", "--output", "table").text.splitlines()
    assert table[0].split()[:3] == ["identifier", "type", "reason"]
    assert ctl.ok("ratelimit", name, "remove", "192.0.2.0/24").text == (
        f"Successfully removed from {name}: 192.0.2.0/24\n"
    )
    gone = ctl("ratelimit", name, "remove", "192.0.2.0/24")
    assert (gone.code, gone.errors) == (3, f"Error removing from {name}: identifier not found in {name}\n")
    assert ctl("ratelimit", name, "add", "--ip", "nowhere").code == 2


def test_top(ctl: Console, server: LiveServer) -> None:
    loud = address()
    with caller(server, loud) as http:
        spend(http, BURST + 40)
    lines = ctl.ok("ratelimit", "top", "--limit", "1").text.splitlines()
    assert lines[0].split()[:4] == ["IDENTIFIER", "TYPE", "REQUESTS", "DENIED"]
    assert lines[1].split()[:5] == [loud, "ip", str(BURST + 40), "40", "80.0"]
    assert len(lines) == 2
    assert ctl.ok("ratelimit", "top", "--by", "requests", "--output", "json").json()[0]["identifier"] == loud
    assert ctl("ratelimit", "top", "--by", "x").code == 2


def test_watch_tells_each_refusal_once(
    ctl: Console, server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> str:
        client = address()
        with caller(server, client) as http:
            spend(http, BURST + 1)
        return client

    pauses: list[str] = []

    def pause(_: float) -> None:
        if len(pauses) == 2:
            raise KeyboardInterrupt
        pauses.append(refuse())

    monkeypatch.setattr(watch, "pause_s", pause)
    first = refuse()
    said = ctl("ratelimit", "watch", "--output", "json")
    told = [json.loads(line) for line in said.text.splitlines()]
    mine = [one["identifier"] for one in told if one["identifier"] in (first, *pauses)]
    assert (said.code, mine) == (0, [first, *pauses])
    assert all(one["status"] == "DENIED" for one in told)
    text = ctl("ratelimit", "watch", "--interval", "100ms").text
    assert f"DENIED  ip:{first}  read  tokens 0.0" in text
