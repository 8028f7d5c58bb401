"""`/admin/ratelimit`: what is shown, what changes at once, what is refused and how."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import SMALL, LiveServer
from tests.doors.rate_limited import ADMIN, BURST, SLOW, address, admin, caller, left, limited, members, spend

MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{3}Z")
FAST = {"requests_per_sec": SLOW, "burst": BURST}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with limited(tmp_path_factory.mktemp("rates") / "data", KONSUL_RATE_LIMIT_BY_APIKEY="true") as running:
        yield running


@pytest.fixture
def root(server: LiveServer) -> Iterator[httpx.Client]:
    with admin(server) as http:
        yield http
        assert http.put(f"{ADMIN}/config", json=FAST).status_code == 200


def refused(answer: httpx.Response) -> tuple[int, str]:
    """The status and words of an answer of the shape of these routes."""
    document = answer.json()
    assert document["success"] is False
    return answer.status_code, document["error"]


def test_the_configuration_is_shown_as_it_is_in_force(root: httpx.Client) -> None:
    assert root.get(f"{ADMIN}/config").json() == {
        "success": True,
        "config": {
            "enabled": True,
            "requests_per_sec": SLOW,
            "burst": BURST,
            "by_ip": True,
            "by_apikey": True,
            "cleanup_interval": "5m0s",
        },
    }


def test_a_larger_burst_holds_for_clients_that_are_known(server: LiveServer, root: httpx.Client) -> None:
    with caller(server) as known, caller(server) as new:
        assert left(known.get("/kv/nothing")) == BURST - 1
        change = {"requests_per_sec": 1000.5, "burst": 3}
        answer = root.put(f"{ADMIN}/config", json=change)
        assert answer.json() == {
            "success": True,
            "message": "Configuration updated successfully",
            "config": change,
        }
        for http in (known, new):
            told = http.get("/kv/nothing")
            assert (told.headers["x-ratelimit-limit"], left(told)) == ("3", 2)
        shown = members(root.get(f"{ADMIN}/config"), "config")
        assert (shown["requests_per_sec"], shown["burst"]) == (1000.5, 3)


def test_a_member_that_is_not_given_stays(root: httpx.Client) -> None:
    members(root.put(f"{ADMIN}/config", json={"burst": 7}), "config")
    shown = members(root.get(f"{ADMIN}/config"), "config")
    assert (shown["requests_per_sec"], shown["burst"]) == (SLOW, 7)
    nothing = root.put(f"{ADMIN}/config", json={})
    assert nothing.json() == {"success": True, "message": "No changes applied"}


def test_what_was_changed_can_be_forgotten(root: httpx.Client) -> None:
    assert root.put(f"{ADMIN}/config", json={"requests_per_sec": 3, "burst": 7}).status_code == 200
    for _ in range(2):
        shown = members(root.delete(f"{ADMIN}/config"), "config")
        assert (shown["requests_per_sec"], shown["burst"]) == (SLOW, BURST)
    assert members(root.get(f"{ADMIN}/config"), "config") == shown


def test_a_rate_of_ones_own_cuts_the_tokens_and_is_taken_back(server: LiveServer, root: httpx.Client) -> None:
    client = address()
    with caller(server, client) as http:
        assert left(http.get("/kv/nothing")) == BURST - 1
        own = {"rate": 0.002, "burst": 3, "duration": "30m"}
        answer = root.put(f"{ADMIN}/client/ip/{client}", json=own)
        assert answer.json() == {
            "success": True,
            "message": "Rate limit adjusted successfully",
            "type": "ip",
            "identifier": client,
            "config": own,
        }
        assert spend(http, 4) == [404, 404, 404, 429]
        status = members(root.get(f"{ADMIN}/status/ip/{client}"), "status")
        assert (status["allowed"], status["denied"], status["max_tokens"]) == (4, 1, 3)
        assert MOMENT.fullmatch(status["custom_until"])
        # A reset gives its three again, not everybody's ten.
        root.post(f"{ADMIN}/reset/ip/{client}")
        assert spend(http, 4)[2:] == [404, 429]
        members(root.delete(f"{ADMIN}/client/ip/{client}"), "identifier")
        assert http.get("/kv/nothing").headers["x-ratelimit-limit"] == str(BURST)
        assert refused(root.delete(f"{ADMIN}/client/ip/{client}"))[0] == 404


def test_a_client_is_listed_and_found(server: LiveServer, root: httpx.Client) -> None:
    client = address()
    with caller(server, client) as http:
        spend(http, 2)
    shown = members(root.get(f"{ADMIN}/client/{client}"), "client")
    assert MOMENT.fullmatch(shown.pop("last_update"))
    assert 8 <= shown.pop("tokens") < 8.5
    assert shown == {"identifier": client, "type": "ip", "max_tokens": BURST, "rate": SLOW}
    for kind, is_there in (("all", True), ("ip", True), ("apikey", False), ("user", False), ("x", False)):
        answer = root.get(f"{ADMIN}/clients", params={"type": kind})
        found = [one["identifier"] for one in members(answer, "clients")]
        assert (client in found) is is_there
        assert answer.json()["count"] == len(found)
    stats = members(root.get(f"{ADMIN}/stats"), "data")
    assert stats == {"ip_limiters": len(members(root.get(f"{ADMIN}/clients"), "clients"))} | {
        "apikey_limiters": 0,
        "user_limiters": 0,
    }
    assert refused(root.get(f"{ADMIN}/client/192.0.2.254")) == (404, "Client not found")


@pytest.mark.parametrize(("value", "is_told"), [("true", True), ("yes", False), ("True", False)])
def test_totals_are_told_when_asked_for(root: httpx.Client, value: str, is_told: bool) -> None:
    data = members(root.get(f"{ADMIN}/stats", params={"details": value}), "data")
    assert ("totals" in data) is is_told
    if is_told:
        assert list(data["totals"]) == ["ip", "apikey", "user"]
        assert set(data["totals"]["ip"]) == {"clients", "allowed", "exceeded", "whitelisted", "blacklisted"}


@pytest.mark.parametrize("query", ["limit=0", "limit=10001", "limit=x"])
def test_a_page_has_its_bounds(root: httpx.Client, query: str) -> None:
    answer = root.get(f"{ADMIN}/clients?{query}")
    assert (answer.status_code, answer.json()["message"]) == (400, "invalid value for limit")


def test_a_network_of_ipv6_is_found_by_each_of_its_names(server: LiveServer, root: httpx.Client) -> None:
    with caller(server, "2001:db8:7:7::1") as http:
        spend(http, 1)
    for name in ("2001:db8:7:7::/64", "2001:db8:7:7::1", "2001:db8:7:7:1:2:3:4"):
        assert members(root.get(f"{ADMIN}/client/{name}"), "client")["identifier"] == "2001:db8:7:7::/64"


def test_who_was_refused_most_stands_first(server: LiveServer, root: httpx.Client) -> None:
    client = address()
    after = max((one["number"] for one in members(root.get(f"{ADMIN}/events"), "events")), default=0)
    with caller(server, client) as http:
        spend(http, BURST + 30)
    first = members(root.get(f"{ADMIN}/top", params={"limit": 1}), "clients")
    assert [(one["identifier"], one["allowed"], one["denied"]) for one in first] == [(client, BURST, 30)]
    events = members(root.get(f"{ADMIN}/events", params={"after": after}), "events")
    assert [one["identifier"] for one in events] == [client] * 30
    assert {(one["status"], one["class"], one["cost"]) for one in events} == {("DENIED", "read", 1)}
    assert refused(root.get(f"{ADMIN}/top", params={"by": "x"}))[0] == 400


def test_a_reset_gives_a_full_bucket(server: LiveServer, root: httpx.Client) -> None:
    client = address()
    with caller(server, client) as http:
        for path, answer in (
            (f"ip/{client}", {"message": "Rate limit reset successfully", "ip": client}),
            ("all", {"message": "All rate limiters reset", "type": "all"}),
            ("all?type=ip", {"message": "All IP rate limiters reset", "type": "ip"}),
        ):
            assert spend(http, BURST + 1)[-1] == 429
            assert root.post(f"{ADMIN}/reset/{path}").json() == {"success": True, **answer}
            assert spend(http, 1) == [404]
        root.post(f"{ADMIN}/reset/all?type=apikey")
        assert left(http.get("/kv/nothing")) == BURST - 2


def test_resets_of_nobody(root: httpx.Client) -> None:
    for path, name in (("ip/anything", "ip"), ("apikey/k1", "key_id"), ("user/u1", "user_id")):
        answer = root.post(f"{ADMIN}/reset/{path}").json()
        assert answer == {
            "success": True,
            "message": "Rate limit reset successfully",
            name: path.partition("/")[2],
        }
    assert root.post(f"{ADMIN}/reset/all?type=apikey").json()["message"] == "All API key rate limiters reset"
    words = "Invalid type parameter. Must be: all, ip, or apikey"
    assert refused(root.post(f"{ADMIN}/reset/all?type=x")) == (400, words)


def test_an_entry_is_added_shown_and_removed(root: httpx.Client) -> None:
    for name, duration in (("whitelist", None), ("whitelist", "24h"), ("blacklist", "24h")):
        body = {"identifier": "192.0.2.9", "type": "ip", "reason": "why"}
        answer = root.post(f"{ADMIN}/{name}", json=body | ({"duration": duration} if duration else {}))
        assert answer.json()["message"] == f"Added to {name} successfully"
        added = members(answer, "entry")
        assert (added["identifier"], added["type"], added["reason"]) == ("192.0.2.9", "ip", "why")
        assert added["added_by"] == "unknown"
        assert MOMENT.fullmatch(added["added_at"])
        assert (added["expires_at"] is None) is (duration is None)
        listed = root.get(f"{ADMIN}/{name}").json()
        assert listed["count"] == len(listed["entries"])
        assert added in listed["entries"]
        assert root.delete(f"{ADMIN}/{name}/192.0.2.9").json() == {
            "success": True,
            "message": f"Removed from {name} successfully",
            "identifier": "192.0.2.9",
        }
        gone = root.delete(f"{ADMIN}/{name}/192.0.2.9")
        assert refused(gone) == (404, f"Identifier not found in {name}")


def test_a_network_is_kept_under_its_first_address(root: httpx.Client) -> None:
    body = {"identifier": "192.0.2.200/26", "type": "ip", "duration": "1h"}
    assert members(root.post(f"{ADMIN}/blacklist", json=body), "entry")["identifier"] == "192.0.2.192/26"
    assert root.delete(f"{ADMIN}/blacklist/192.0.2.255/26").status_code == 200


def test_an_entry_ends_by_itself(server: LiveServer, root: httpx.Client) -> None:
    client = address()
    body = {"identifier": client, "type": "ip", "duration": "1ms"}
    assert root.post(f"{ADMIN}/blacklist", json=body).status_code == 200
    with caller(server, client) as http:
        assert spend(http, 1) == [404]
    assert client not in root.get(f"{ADMIN}/blacklist").text


ENTRY = {"identifier": "192.0.2.1", "type": "ip", "duration": "1h"}
OWN = {"rate": 1, "burst": 1, "duration": "1h"}
BAD: list[tuple[str, str, Any, str]] = [
    ("PUT", "config", {"requests_per_sec": 0}, "requests_per_sec must be greater than 0"),
    ("PUT", "config", {"requests_per_sec": -1.5}, "requests_per_sec must be greater than 0"),
    ("PUT", "config", {"requests_per_sec": 1e300}, "requests_per_sec must be from 0.000001 to 1000000000"),
    ("PUT", "config", {"burst": 0}, "burst must be greater than 0"),
    ("PUT", "config", {"burst": -3}, "burst must be greater than 0"),
    ("PUT", "config", {"burst": 2**63}, "burst must be at most 1000000000"),
    ("PUT", "config", {"burst": 1.5}, "Invalid request body"),
    ("PUT", "config", {"burst": "1"}, "Invalid request body"),
    ("PUT", "config", {"burst": True}, "Invalid request body"),
    ("PUT", "config", [], "Invalid request body"),
    ("PUT", "client/group/x", OWN, "Invalid type. Must be 'ip' or 'apikey'"),
    ("PUT", "client/ip/x", OWN, "identifier is not an IP address"),
    ("PUT", "client/ip/10.0.0.1", OWN | {"rate": 0}, "rate must be greater than 0"),
    ("PUT", "client/ip/10.0.0.1", {"burst": 1}, "rate must be greater than 0"),
    ("PUT", "client/ip/10.0.0.1", OWN | {"burst": 0}, "burst must be greater than 0"),
    ("PUT", "client/ip/10.0.0.1", OWN | {"duration": "1"}, "Invalid duration format"),
    ("PUT", "client/ip/10.0.0.1", OWN | {"duration": "0s"}, "Invalid duration format"),
    ("PUT", "client/ip/10.0.0.1", OWN | {"duration": "2000000h"}, "Invalid duration format"),
    ("POST", "whitelist", ENTRY | {"identifier": ""}, "identifier is required"),
    ("POST", "whitelist", ENTRY | {"type": "group"}, "type must be 'ip' or 'apikey'"),
    ("POST", "whitelist", {"identifier": "192.0.2.1"}, "type must be 'ip' or 'apikey'"),
    ("POST", "whitelist", ENTRY | {"duration": "soon"}, "Invalid duration format"),
    ("POST", "whitelist", ENTRY | {"reason": "x" * 257}, "reason must be at most 256 printable characters"),
    ("POST", "whitelist", ENTRY | {"reason": "a\nb"}, "reason must be at most 256 printable characters"),
    (
        "POST",
        "whitelist",
        ENTRY | {"identifier": "10.0.0.0/33"},
        "identifier is not an IP address or a network such as 10.0.0.0/8",
    ),
    (
        "POST",
        "whitelist",
        ENTRY | {"type": "apikey", "identifier": "k" * 257},
        "identifier must be at most 256 printable characters",
    ),
    ("POST", "blacklist", ENTRY | {"duration": ""}, "duration is required for blacklist entries"),
    ("POST", "blacklist", {"identifier": 1}, "Invalid request body"),
]


@pytest.mark.parametrize(("method", "path", "body", "words"), BAD)
def test_what_will_not_do_is_refused_and_changes_nothing(
    root: httpx.Client, method: str, path: str, body: Any, words: str
) -> None:
    before = (root.get(f"{ADMIN}/whitelist").text, root.get(f"{ADMIN}/config").text)
    answer = root.request(method, f"{ADMIN}/{path}", json=body)
    assert refused(answer) == (400, words)
    assert ("details" in answer.json()) is (words == "Invalid request body")
    assert (root.get(f"{ADMIN}/whitelist").text, root.get(f"{ADMIN}/config").text) == before


def test_without_authentication_only_the_machine_itself_administers(server: LiveServer) -> None:
    with caller(server) as http:
        for method, path in (
            ("GET", "stats"),
            ("POST", "reset/all"),
            ("PUT", "config"),
            ("GET", "whitelist"),
        ):
            status, words = refused(http.request(method, f"{ADMIN}/{path}", json={"burst": 1}))
            assert (status, "authentication is off" in words) == (403, True)
    with caller(server, "::1") as local:
        assert local.get(f"{ADMIN}/stats").status_code == 200


def test_where_the_limits_are_off_there_is_nothing_to_administer(tmp_path: Path) -> None:
    with LiveServer(tmp_path / "data", SMALL) as server, admin(server) as http:
        for path in ("stats", "config", "whitelist"):
            answer = http.get(f"{ADMIN}/{path}")
            assert (answer.status_code, answer.json()["error"]) == (404, "Not Found")
        assert http.put(f"{ADMIN}/config", json={"burst": 1}).status_code == 404
        assert "x-ratelimit-limit" not in http.get("/kv/nothing").headers
        assert "konsul_rate_limit" not in http.get("/metrics").text
