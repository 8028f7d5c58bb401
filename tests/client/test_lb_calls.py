"""The calls of load balancing: paths, bodies and answers, against played answers."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from konsul.client import BalancingRules, InstanceLoad, LoadReport
from konsul.errors import Invalid, NotFound
from tests.client.played import Doing, Played, ok, run

BOTH = pytest.mark.parametrize("both", ["sync", "async"])
ONE = {"name": "web", "id": "a", "address": "h", "port": 80}
EVERY = {
    "strategy": "ring-hash",
    "session": "a b",
    "region": "eu",
    "zone": "z",
    "client_ip": "::1",
    "rule": "canary",
    "warning": "drop",
    "load_factor": 1.25,
    "limit": 2,
    "consistency": "stale",
}
STORED = {
    "service": "web",
    "rules": {"strategy": "random"},
    "modify_index": 7,
    "set_by": "ann",
    "set_at": "t",
}
RULES = BalancingRules("web", {"strategy": "random"}, 7, "ann", "t")
CALLS: list[tuple[Doing, str, str, Any, Any, Any]] = [
    (lambda c: c.lb.strategy(), "GET", "/lb/strategy", None, {"strategy": "random"}, "random"),
    (
        lambda c: c.lb.set_strategy("random"),
        "PUT",
        "/lb/strategy",
        {"strategy": "random"},
        {"strategy": "random"},
        "random",
    ),
    (lambda c: c.lb.rules("web"), "GET", "/lb/rules/web", None, STORED, RULES),
    (lambda c: c.lb.rules("a b/c"), "GET", "/lb/rules/a%20b/c", None, STORED, RULES),
    (lambda c: c.lb.list_rules(), "GET", "/lb/rules", None, {"rules": [STORED]}, (RULES,)),
    (
        lambda c: c.lb.set_rules("web", {"strategy": "random"}, cas=3),
        "PUT",
        "/lb/rules/web?cas=3",
        {"strategy": "random"},
        STORED,
        RULES,
    ),
    (lambda c: c.lb.delete_rules("web", cas=3), "DELETE", "/lb/rules/web?cas=3", None, {}, None),
    (
        lambda c: c.lb.activate("web", "green"),
        "PUT",
        "/lb/rules/web/active",
        {"active": "green"},
        {"modify_index": 9},
        9,
    ),
    (lambda c: c.lb.split("web"), "GET", "/lb/service/web/split", None, {"split": {"a": 1}}, {"a": 1}),
    (
        lambda c: c.lb.set_split("web", {"rules": []}),
        "PUT",
        "/lb/service/web/split",
        {"rules": []},
        {"split": {"rules": []}},
        {"rules": []},
    ),
    (lambda c: c.lb.delete_split("web"), "DELETE", "/lb/service/web/split", None, {}, None),
    (
        lambda c: c.lb.report("web", instance="a", connections=0, client="gw"),
        "PUT",
        "/lb/report/web",
        {"id": "a", "connections": 0, "client": "gw"},
        {},
        None,
    ),
    (
        lambda c: c.lb.report_many([LoadReport("web", "a", latency_ms=1.5), LoadReport("api")]),
        "POST",
        "/lb/reports",
        {"reports": [{"name": "web", "id": "a", "latency_ms": 1.5}, {"name": "api"}]},
        {"unknown": [{"name": "api", "id": "api"}]},
        (("api", "api"),),
    ),
    (
        lambda c: c.lb.loads("web"),
        "GET",
        "/lb/report/web",
        None,
        {"instances": [{"id": "a", "connections": 3, "clients": 1, "assigned": 2, "latency_ms": 1.5}]},
        (InstanceLoad("a", 3, 1, 2, 1.5),),
    ),
]


@BOTH
@pytest.mark.parametrize(("doing", "method", "path", "body", "answer", "result"), CALLS)
def test_a_call_is_asked_and_read(
    both: str, doing: Doing, method: str, path: str, body: Any, answer: Any, result: Any
) -> None:
    played = Played(ok(answer))
    assert run(played, doing, both=both) == result
    (seen,) = played.seen
    assert (seen.method, seen.url.raw_path.decode()) == (method, path)
    assert (json.loads(seen.content) if seen.content else None) == body


@BOTH
def test_a_selection_says_what_it_wishes(both: str) -> None:
    played = Played(ok({"service": ONE, "services": [ONE, ONE], "strategy": "ring-hash", "rule": "canary"}))
    found = run(played, lambda c: c.lb.select("web/x", **EVERY), both=both)
    assert (found.service.id, len(found.services), found.rule) == ("a", 2, "canary")
    url = played.seen[0].url
    assert url.path == "/lb/service/web/x"
    assert dict(url.params) == {
        "strategy": "ring-hash",
        "session": "a b",
        "region": "eu",
        "zone": "z",
        "client-ip": "::1",
        "rule": "canary",
        "warning": "drop",
        "load-factor": "1.25",
        "limit": "2",
        "consistency": "stale",
    }


@BOTH
def test_a_plain_selection_says_nothing(both: str) -> None:
    played = Played(ok({"service": ONE, "strategy": "random"}))
    found = run(played, lambda c: c.lb.select("web"), both=both)
    assert (found.services, found.rule, found.strategy) == ((found.service,), "", "random")
    assert played.seen[0].url.raw_path == b"/lb/service/web"
    run(played, lambda c: c.lb.find(tags=["a", "b"], meta={"k": "v"}, limit=1), both=both)
    assert played.seen[1].url.raw_path == b"/lb/query?tags=a&tags=b&meta.k=v&limit=1"


@BOTH
def test_refusals_keep_the_servers_words(both: str) -> None:
    played = Played(httpx.Response(404, json={"error": "Not Found", "message": "No service instances"}))
    with pytest.raises(NotFound, match="No service instances"):
        run(played, lambda c: c.lb.select("web"), both=both)


@BOTH
@pytest.mark.parametrize(
    "doing",
    [
        lambda c: c.lb.select(""),
        lambda c: c.lb.find(),
        lambda c: c.lb.rules(""),
        lambda c: c.lb.set_rules("", {}),
        lambda c: c.lb.report(""),
    ],
)
def test_what_cannot_be_asked_is_not_sent(both: str, doing: Doing) -> None:
    played = Played()
    with pytest.raises(Invalid):
        run(played, doing, both=both)
    assert played.seen == []
