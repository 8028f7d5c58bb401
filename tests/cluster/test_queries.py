"""Prepared queries on three nodes: whoever is asked next knows what was acknowledged."""

from __future__ import annotations

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.stories import fresh_key


def test_a_query_is_made_executed_changed_and_deleted_through_different_nodes(trio: Cluster) -> None:
    nodes = list(trio.nodes.values())
    for number in range(6):
        one, two, three = (nodes[(number + place) % 3] for place in range(3))
        name = fresh_key("query")
        service = {"name": name, "address": "10.0.0.1", "port": 80, "ttl": "0"}
        assert one.ask("PUT", "/register", service).status == 200
        made = one.ask("POST", "/query", {"name": name, "service": {"service": name}})
        assert made.status == 201
        changed = {"name": f"{name}-2", "service": {"service": name, "tags": ["x"]}}
        assert two.ask("PUT", f"/query/{made.json()['id']}", changed).status == 200
        found = three.ask("GET", f"/query/{name}-2/execute")
        assert (found.status, found.json()["count"]) == (200, 0)
        assert three.ask("DELETE", f"/query/{name}-2").status == 200
        assert one.ask("GET", f"/query/{made.json()['id']}").status == 404


def test_a_name_is_given_once_in_the_cluster(trio: Cluster) -> None:
    name = fresh_key("query")
    statuses = [
        node.ask("POST", "/query", {"name": name, "service": {"service": name}}).status
        for node in trio.nodes.values()
    ]
    assert statuses == [201, 409, 409]


def test_a_search_goes_on_through_another_node(trio: Cluster) -> None:
    space = fresh_key("search")
    nodes = list(trio.nodes.values())
    for number in range(6):
        service = {
            "name": f"{space}-{number}",
            "address": "10.0.0.1",
            "port": 80,
            "ttl": "0",
            "tags": [space],
        }
        assert nodes[number % 3].ask("PUT", "/register", service).status == 200
    found: list[str] = []
    after = ""
    for number in range(3):
        page = nodes[number].ask("GET", f"/services/query?tags={space}&limit=2{after}").json()
        found += [one["name"] for one in page["services"]]
        after = f"&after={page['after']}"
    assert found == [f"{space}-{number}" for number in range(6)]
    assert after == "&after=None"
