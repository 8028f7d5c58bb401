"""The rate limit's calls: paths, bodies and answers, against played answers."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from konsul.errors import Invalid, NotFound
from tests.client.played import Doing, Played, ok, run

BOTH = pytest.mark.parametrize("both", ["sync", "async"])
READS: list[tuple[Doing, str, dict[str, Any], Any]] = [
    (lambda c: c.ratelimit.stats(), "stats", {"data": {"ip_limiters": 1}}, {"ip_limiters": 1}),
    (lambda c: c.ratelimit.stats(details=True), "stats?details=true", {"data": {}}, {}),
    (lambda c: c.ratelimit.config(), "config", {"config": {"burst": 1}}, {"burst": 1}),
    (lambda c: c.ratelimit.clients(), "clients?type=all", {"clients": [{}]}, ({},)),
    (lambda c: c.ratelimit.clients("ip"), "clients?type=ip", {"clients": []}, ()),
    (lambda c: c.ratelimit.client("a/64"), "client/a%2F64", {"client": {"a": 1}}, {"a": 1}),
    (lambda c: c.ratelimit.status("ip", "a"), "status/ip/a", {"status": {"a": 1}}, {"a": 1}),
    (lambda c: c.ratelimit.top(limit=3), "top?by=violations&limit=3", {"clients": [{}]}, ({},)),
    (lambda c: c.ratelimit.events(7), "events?after=7", {"events": [{"number": 8}]}, ({"number": 8},)),
    (lambda c: c.ratelimit.entries("blacklist"), "blacklist", {"entries": [{}]}, ({},)),
]
WRITES: list[tuple[Doing, str, str, Any]] = [
    (lambda c: c.ratelimit.reset("ip", "1.2.3.4"), "POST", "reset/ip/1.2.3.4", None),
    (lambda c: c.ratelimit.reset("user", "a b"), "POST", "reset/user/a%20b", None),
    (lambda c: c.ratelimit.reset_all(), "POST", "reset/all?type=all", None),
    (lambda c: c.ratelimit.update(burst=3), "PUT", "config", {"burst": 3}),
    (
        lambda c: c.ratelimit.update(requests_per_sec=0.5, burst=3),
        "PUT",
        "config",
        {"requests_per_sec": 0.5, "burst": 3},
    ),
    (lambda c: c.ratelimit.restore_config(), "DELETE", "config", None),
    (
        lambda c: c.ratelimit.adjust("apikey", "k", rate=1.5, burst=2),
        "PUT",
        "client/apikey/k",
        {"rate": 1.5, "burst": 2},
    ),
    (lambda c: c.ratelimit.restore("ip", "1.2.3.4"), "DELETE", "client/ip/1.2.3.4", None),
    (lambda c: c.ratelimit.remove("whitelist", "10.0.0.0/8"), "DELETE", "whitelist/10.0.0.0%2F8", None),
]


@BOTH
@pytest.mark.parametrize(("doing", "path", "body", "found"), READS)
def test_a_read_hands_out_what_it_asked_for(
    both: str, doing: Doing, path: str, body: dict[str, Any], found: Any
) -> None:
    played = Played(ok({"success": True, **body}))
    assert run(played, doing, both=both) == found
    seen = played.seen[0]
    assert (seen.method, seen.url.raw_path.decode()) == ("GET", f"/admin/ratelimit/{path}")


@BOTH
@pytest.mark.parametrize(("doing", "method", "path", "body"), WRITES)
def test_a_write_names_only_what_was_given(
    both: str, doing: Doing, method: str, path: str, body: Any
) -> None:
    played = Played(ok({"success": True}))
    assert run(played, doing, both=both) == {"success": True}
    seen = played.seen[0]
    assert (seen.method, seen.url.raw_path.decode()) == (method, f"/admin/ratelimit/{path}")
    assert (json.loads(seen.content) if seen.content else None) == body


@BOTH
def test_an_added_entry_is_handed_out(both: str) -> None:
    played = Played(ok({"success": True, "entry": {"identifier": "k"}}))
    added = run(
        played,
        lambda c: c.ratelimit.add("blacklist", "apikey", "k", reason="r", duration="1h"),
        both=both,
    )
    assert added == {"identifier": "k"}
    sent = {"identifier": "k", "type": "apikey", "reason": "r", "duration": "1h"}
    assert json.loads(played.seen[0].content) == sent


@BOTH
def test_refusals_keep_the_servers_words(both: str) -> None:
    played = Played(httpx.Response(404, json={"success": False, "error": "Client not found"}))
    with pytest.raises(NotFound, match="Client not found"):
        run(played, lambda c: c.ratelimit.client("x"), both=both)


@BOTH
@pytest.mark.parametrize(
    "doing",
    [
        lambda c: c.ratelimit.client(""),
        lambda c: c.ratelimit.reset("group", "x"),
        lambda c: c.ratelimit.reset("ip", ""),
        lambda c: c.ratelimit.entries("greylist"),
        lambda c: c.ratelimit.remove("whitelist", ""),
    ],
)
def test_what_cannot_be_asked_is_not_sent(both: str, doing: Doing) -> None:
    played = Played()
    with pytest.raises(Invalid):
        run(played, doing, both=both)
    assert played.seen == []
