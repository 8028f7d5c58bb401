"""Health, nodes and dependencies in the calls of the catalog: paths, bodies and answers, played."""

from __future__ import annotations

import json
from typing import Any

import pytest

from konsul.client import Check, Dependencies, GraphNode, Node, Service
from konsul.errors import Conflict, Invalid
from tests.client.played import Doing, Played, ok, refusal, run

BOTH = pytest.mark.parametrize("both", ["sync", "async"])
DECLARED = {"service": "web", "dependencies": ["db"], "dependents": ["edge"]}
NODE = {"name": "db", "health": "critical", "instances": {"passing": 1, "warning": 2, "critical": 3}}
SHOWN = GraphNode("db", "critical", 1, 2, 3, 4)
CASES: list[tuple[Doing, str, str, Any, Any, Any]] = [
    (
        lambda c: c.dependencies.get("a b"),
        "GET",
        "/services/a%20b/dependencies",
        None,
        DECLARED,
        Dependencies("web", ("db",), ("edge",)),
    ),
    (
        lambda c: c.dependencies.add("web", ["db"]),
        "POST",
        "/services/web/dependencies",
        {"dependencies": ["db"]},
        {"service": "web", "dependencies": ["db"]},
        Dependencies("web", ("db",)),
    ),
    (
        lambda c: c.dependencies.replace("web", []),
        "PUT",
        "/services/web/dependencies",
        {"dependencies": []},
        {"service": "web", "dependencies": []},
        Dependencies("web"),
    ),
    (
        lambda c: c.dependencies.remove("web", ["a", "b"]),
        "DELETE",
        "/services/web/dependencies?dependency=a&dependency=b",
        None,
        {"service": "web", "dependencies": []},
        Dependencies("web"),
    ),
    (
        lambda c: c.dependencies.dot("web"),
        "GET",
        "/services/dependency-graph?format=dot&root=web",
        None,
        {},
        "{}",
    ),
    (lambda c: c.services.maintenance("web"), "PUT", "/services/web/maintenance?enable=true", None, {}, None),
    (
        lambda c: c.services.maintenance("web", False, reason="a b", instance="w1"),
        "PUT",
        "/services/web/maintenance?enable=false&reason=a%20b&id=w1",
        None,
        {},
        None,
    ),
    (lambda c: c.services.list(health="passing"), "GET", "/services/?health=passing", None, [], ()),
    (
        lambda c: c.services.instances("web", health="serving"),
        "GET",
        "/services/web/instances?metadata=true&health=serving",
        None,
        [],
        (),
    ),
    (
        lambda c: c.nodes.list(filter='Zone == "a"'),
        "GET",
        "/nodes?filter=Zone%20%3D%3D%20%22a%22&limit=1000",
        None,
        [{"name": "n1", "zone": "a"}],
        (Node("n1", zone="a", document={"name": "n1", "zone": "a"}),),
    ),
    (
        lambda c: c.nodes.set("n1", address="10.0.0.1", meta={"k": "v"}),
        "PUT",
        "/nodes/n1",
        {"address": "10.0.0.1", "meta": {"k": "v"}},
        {},
        None,
    ),
    (lambda c: c.nodes.delete("n1"), "DELETE", "/nodes/n1", None, {}, None),
    (
        lambda c: c.nodes.maintenance("n1", reason="disk"),
        "PUT",
        "/nodes/n1/maintenance?enable=true&reason=disk",
        None,
        {},
        None,
    ),
]


@BOTH
@pytest.mark.parametrize(("doing", "method", "path", "body", "answer", "found"), CASES)
def test_a_call_is_worded_and_read(
    both: str, doing: Doing, method: str, path: str, body: Any, answer: Any, found: Any
) -> None:
    played = Played(ok(answer))
    assert run(played, doing, both=both) == found
    seen = played.seen[0]
    assert (seen.method, seen.url.raw_path.decode().replace("+", "%20")) == (method, path)
    assert (json.loads(seen.content) if seen.content else None) == body


@BOTH
def test_nodes_are_listed_page_by_page(both: str) -> None:
    played = Played(ok([{"name": "a"}], **{"X-Konsul-Next-After": "a/1"}), ok([{"name": "b"}]))
    assert [one.name for one in run(played, lambda c: c.nodes.list(), both=both)] == ["a", "b"]
    assert [seen.url.params.get("after") for seen in played.seen] == [None, "a/1"]


@BOTH
def test_a_graph_and_an_impact_are_read(both: str) -> None:
    graph = {
        "nodes": [{**NODE, "depth": 4}],
        "edges": [{"from": "web", "to": "db"}],
        "order": ["db", "web"],
    }
    found = run(Played(ok(graph)), lambda c: c.dependencies.graph(), both=both)
    assert (found.nodes, found.edges, found.order) == ((SHOWN,), (("web", "db"),), ("db", "web"))
    impact = {"dependents": [{**NODE, "depth": 4}], "dependencies": [], "service": "db", "health": "absent"}
    read = run(Played(ok(impact)), lambda c: c.dependencies.impact("db"), both=both)
    assert (read.service, read.dependents, read.dependencies) == (GraphNode("db", "absent"), (SHOWN,), ())


@BOTH
def test_a_cycle_is_a_conflict_that_names_it(both: str) -> None:
    played = Played(refusal(409, "Conflict", "dependency cycle: a -> b -> a"))
    with pytest.raises(Conflict, match="a -> b -> a"):
        run(played, lambda c: c.dependencies.add("a", ["b"]), both=both)


@BOTH
def test_a_registration_says_all_of_it_and_nothing_that_is_empty(both: str) -> None:
    check = Check(
        "alive", http="http://h/", headers={"a": "b"}, failures_before_critical=2, script=("probe", "-x")
    )
    service = Service(
        "web", "h", 1, checks=(check,), node="n1", zone="a", ttl="0", dependencies=("db", "cache")
    )
    played = Played(ok({"modify_index": 3}))
    run(played, lambda c: c.services.register(service), both=both)
    assert json.loads(played.seen[0].content) == {
        "name": "web",
        "address": "h",
        "port": 1,
        "checks": [
            {
                "name": "alive",
                "http": "http://h/",
                "headers": {"a": "b"},
                "failures_before_critical": 2,
                "script": ["probe", "-x"],
            }
        ],
        "node": "n1",
        "zone": "a",
        "ttl": "0",
        "dependencies": ["db", "cache"],
    }


@BOTH
def test_an_instance_is_read_with_health_place_and_checks(both: str) -> None:
    sent = {
        "service": {
            "name": "web",
            "address": "h",
            "port": 1,
            "node": "n1",
            "zone": "a",
            "checks": [{"id": "c", "script": ["probe"], "service_id": "web", "unheard_of": 1}],
        },
        "modify_index": 7,
        "health": "warning",
    }
    one = run(Played(ok(sent)), lambda c: c.services.get("web"), both=both)
    assert (one.health, one.service.node, one.service.zone, one.modify_index) == ("warning", "n1", "a", 7)
    assert one.service.checks == (Check(id="c", script=("probe",)),)
    assert one.service.dependencies is None


@pytest.mark.parametrize(
    "doing",
    [
        lambda c: c.dependencies.get(""),
        lambda c: c.dependencies.add("web", "db"),
        lambda c: c.nodes.get(""),
        lambda c: c.services.maintenance(""),
    ],
)
def test_what_cannot_be_meant_is_not_sent(doing: Doing) -> None:
    played = Played(ok({}))
    with pytest.raises(Invalid):
        run(played, doing, both="sync")
    assert played.seen == []
