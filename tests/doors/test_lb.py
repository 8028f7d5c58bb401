"""Choosing one instance of many over HTTP, and changing how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.conftest import LiveServer
from tests.doors.test_metrics import scrape, value

DEFAULT = "round-robin"
STRATEGIES = (
    DEFAULT,
    "random",
    "least-connections",
    "weighted-round-robin",
    "weighted-random",
    "ip-hash",
    "ring-hash",
    "latency-based",
    "zone-aware",
)


@pytest.fixture(autouse=True)
def the_strategy_is_as_at_the_start(http: httpx.Client) -> Iterator[None]:
    """The module's server keeps its strategy from test to test."""
    yield
    assert http.put("/lb/strategy", json={"strategy": DEFAULT}).status_code == 200


def register(http: httpx.Client, name: str, **more: Any) -> None:
    body = {"name": name, "address": "10.0.0.1", "port": 80, **more}
    assert http.put("/register", json=body).status_code == 200


@pytest.fixture
def fleet(http: httpx.Client, space: str) -> str:
    """Three services with overlapping tags and metadata; returns the space their tags and keys carry."""
    for name, tags, team, weight, region in (
        ("c", ["all", "red"], "one", "1", "eu"),
        ("a", ["all", "red", "blue"], "two", "1", "us"),
        ("b", ["all", "blue"], "one", "4", "eu"),
    ):
        own = [f"{space}:{tag}" for tag in tags]
        meta = {f"{space}-team": team, "weight": weight}
        register(http, f"{space}-{name}", tags=[*own, f"region:{region}"], meta=meta)
    return space


def use(http: httpx.Client, strategy: str) -> None:
    answer = http.put("/lb/strategy", json={"strategy": strategy})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"message": "strategy updated", "strategy": strategy}


def picked(http: httpx.Client, path: str, times: int = 1, **params: Any) -> str:
    """The last letters of the names that were selected."""
    names = ""
    for _ in range(times):
        answer = http.get(path, params=params)
        assert answer.status_code == 200, answer.text
        names += answer.json()["service"]["name"][-1]
    return names


def refused(http: httpx.Client, path: str) -> tuple[int, str]:
    answer = http.get(path)
    body = answer.json()
    assert UUID(body["request_id"])
    return answer.status_code, body["message"]


def test_by_tag_everyone_gets_a_turn_by_name(http: httpx.Client, fleet: str) -> None:
    path = f"/lb/service/{fleet}:all"
    assert picked(http, path, 7) == "abcabca"
    assert picked(http, f"/lb/service/{fleet}:red", 3) == "aca"
    answer = http.get(path)
    service = http.get(f"/services/{fleet}-b").json()
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"service": service, "strategy": DEFAULT}


def test_without_such_a_tag_the_instances_of_that_name_take_turns(http: httpx.Client, space: str) -> None:
    for number in range(3):
        register(http, space, id=f"{space}-{number}")
    ids = [http.get(f"/lb/service/{space}").json()["service"]["id"][-1] for _ in range(4)]
    assert ids == ["0", "1", "2", "0"]
    register(http, f"{space}-other", tags=[space])
    assert picked(http, f"/lb/service/{space}", 2) == "rr"


def test_a_tag_may_hold_a_slash(http: httpx.Client, space: str) -> None:
    register(http, f"{space}-x", tags=[f"{space}/blue"])
    assert picked(http, f"/lb/service/{space}/blue") == "x"
    assert picked(http, f"/v1/LB/Service/{space}%2Fblue/") == "x"


def test_by_filters_among_those_that_match_all(http: httpx.Client, fleet: str) -> None:
    one, red, team = f"{fleet}:all", f"{fleet}:red", f"{fleet}-team"
    assert picked(http, "/lb/tags", 3, tags=[one, red]) == "aca"
    assert picked(http, "/lb/tags", 2, tag=[one], tags=[red]) == "ca"
    assert picked(http, "/lb/metadata", 3, **{team: "one"}) == "bcb"
    assert picked(http, "/lb/query", 2, **{"tags": one, f"meta.{team}": "one"}) == "bc"
    assert picked(http, "/lb/query", 2, **{"tags": red, f"meta.{team}": "one"}) == "cc"


def test_an_answer_to_a_query_repeats_it(http: httpx.Client, fleet: str) -> None:
    one, team = f"{fleet}:all", f"{fleet}-team"
    pair = {team: "one"}
    for path, params, query in (
        ("/lb/tags", {"tags": one}, {"tags": [one]}),
        ("/lb/metadata", pair, {"metadata": pair}),
        ("/lb/query", {"tag": one, f"meta.{team}": "one"}, {"tags": [one], "metadata": pair}),
        ("/lb/query", {f"meta.{team}": "one", "other": "x"}, {"tags": [], "metadata": pair}),
    ):
        body = http.get(path, params=params).json()
        assert body.keys() == {"service", "strategy", "query"}
        assert (body["strategy"], body["query"]) == (DEFAULT, query)


def test_what_is_not_there_or_not_asked(http: httpx.Client, fleet: str) -> None:
    for path, expected in (
        ("/lb/service/none", (404, "No service instances available")),
        ("/lb/service/%00", (404, "No service instances available")),
        (f"/lb/service/{'t' * 900}", (404, "No service instances available")),
        ("/lb/tags?tags=none", (404, "No service instances matching tags")),
        (f"/lb/tags?tags={fleet}:all&tags=", (404, "No service instances matching tags")),
        ("/lb/metadata?none=1", (404, "No service instances matching metadata")),
        (f"/lb/query?tags={fleet}:red&meta.none=1", (404, "No service instances matching query")),
        ("/lb/tags", (400, "At least one tag must be specified")),
        ("/lb/tags?session=s&region=eu", (400, "At least one tag must be specified")),
        ("/lb/metadata", (400, "At least one metadata filter must be specified")),
        ("/lb/query?team=a", (400, "At least one tag or metadata filter must be specified")),
        ("/lb/tags?" + "&".join(f"tag={n}" for n in range(33)), (400, "too many filters: 33 (max 29)")),
    ):
        assert refused(http, path) == expected, path


def test_who_went_is_not_selected(http: httpx.Client, fleet: str) -> None:
    assert http.delete(f"/deregister/{fleet}-b").status_code == 200
    assert set(picked(http, f"/lb/service/{fleet}:all", 6)) == set("ac")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_is_accepted_and_chooses(http: httpx.Client, fleet: str, strategy: str) -> None:
    use(http, strategy)
    assert http.get("/lb/strategy").json() == {"strategy": strategy}
    for path in (f"/lb/service/{fleet}:all", f"/lb/tags?tags={fleet}:all", f"/lb/metadata?{fleet}-team=one"):
        body = http.get(path).json()
        assert body["strategy"] == strategy
        assert body["service"]["name"].startswith(fleet)
    assert refused(http, "/lb/service/none") == (404, "No service instances available")


def test_equal_connections_take_turns(http: httpx.Client, fleet: str) -> None:
    use(http, "least-connections")
    assert Counter(picked(http, f"/lb/service/{fleet}:all", 6)) == {"a": 2, "b": 2, "c": 2}


def test_weights_are_the_metadata_named_so(http: httpx.Client, fleet: str) -> None:
    use(http, "weighted-round-robin")
    assert picked(http, f"/lb/service/{fleet}:all", 6) == "babbcb"
    register(http, f"{fleet}-b", tags=[f"{fleet}:all"], meta={"weight": "x"})
    assert Counter(picked(http, "/lb/tags", 6, tag=f"{fleet}:all")) == {"a": 2, "b": 2, "c": 2}
    use(http, "weighted-random")
    assert set(picked(http, f"/lb/service/{fleet}:all", 100)) == set("abc")


def test_hashes_keep_a_client_and_a_session_on_their_instance(http: httpx.Client, fleet: str) -> None:
    path = f"/lb/service/{fleet}:all"
    use(http, "ip-hash")
    assert len(set(picked(http, path, 5))) == 1
    use(http, "ring-hash")
    assert len(set(picked(http, path, 5))) == 1
    owners = {number: picked(http, path, session=f"{fleet}-{number * 7919}") for number in range(60)}
    assert len(set(owners.values())) > 1
    http.delete(f"/deregister/{fleet}-a")
    for number, owner in owners.items():
        now = picked(http, path, session=f"{fleet}-{number * 7919}")
        assert now in "bc"
        assert owner in ("a", now)


def test_latency_goes_by_the_region_of_the_client(http: httpx.Client, fleet: str) -> None:
    use(http, "latency-based")
    path = f"/lb/service/{fleet}:all"
    assert picked(http, path, 3, region="eu") == "bbb"
    assert picked(http, "/lb/tags", 3, tags=f"{fleet}:all", region="us") == "aaa"
    assert set(picked(http, path, 60, region="asia")) == set("abc")


def test_a_filter_by_metadata_may_be_called_region_or_session(http: httpx.Client, space: str) -> None:
    register(http, f"{space}-x", meta={"region": space, "session": space})
    assert picked(http, "/lb/metadata", region=space, session=space) == "x"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "Invalid JSON body"),
        (b"[]", "Invalid JSON body"),
        (b'{"strategy":5}', "Invalid JSON body"),
        (b"{}", "Invalid strategy. Must be one of: " + ", ".join(STRATEGIES)),
        (b'{"strategy":"Random"}', "Invalid strategy. Must be one of: " + ", ".join(STRATEGIES)),
    ],
)
def test_a_strategy_there_is_not_changes_nothing(http: httpx.Client, body: bytes, message: str) -> None:
    answer = http.put("/lb/strategy", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request")
    assert answer.json()["message"] == message
    assert http.get("/lb/strategy").json() == {"strategy": DEFAULT}


def test_the_wrong_method_is_told_the_right_ones(http: httpx.Client) -> None:
    answer = http.post("/lb/strategy")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, PUT")


def test_selections_and_changes_are_counted(http: httpx.Client, fleet: str) -> None:
    before = scrape(http)
    http.get(f"/lb/service/{fleet}:all")
    http.get("/lb/tags?tags=none")
    http.get("/lb/query")
    use(http, "random")
    use(http, "random")
    http.get(f"/lb/metadata?{fleet}-team=one")
    after = scrape(http)

    def grown(name: str, **labels: str) -> float:
        name = f"konsul_load_balancer_{name}"
        return value(after, name, **labels) - value(before, name, **labels)

    for kind, status in (("service", "success"), ("tags", "not_found"), ("combined", "error")):
        labels = {"strategy": DEFAULT, "selection_type": kind}
        assert grown("selections_total", status=status, **labels) == 1
        assert grown("selection_duration_seconds_count", **labels) == 1
    assert grown("selections_total", strategy="random", selection_type="metadata", status="success") == 1
    assert grown("instance_pool_size_sum", selection_type="service") == 3
    assert grown("instance_pool_size_bucket", selection_type="tags", le="0.0") == 1
    assert grown("instance_pool_size_count", selection_type="combined") == 0
    assert grown("strategy_changes_total", from_strategy=DEFAULT, to_strategy="random") == 1
    assert grown("strategy_changes_total", from_strategy="random", to_strategy="random") == 0
    assert not [labels for _, labels in after if any(fleet in text for _, text in labels)]


def test_the_strategy_is_shown_from_the_first_scrape_and_is_the_nodes_own(server: LiveServer) -> None:
    with httpx.Client(base_url=server.base_url, timeout=30, trust_env=False) as http:
        use(http, "ip-hash")
    server.restart()
    with httpx.Client(base_url=server.base_url, timeout=30, trust_env=False) as http:
        samples = scrape(http)
        name = "konsul_load_balancer_current_strategy"
        shown = {
            dict(labels)["strategy"]: value for (found, labels), value in samples.items() if found == name
        }
        assert shown == {strategy: float(strategy == DEFAULT) for strategy in STRATEGIES}
        assert http.get("/lb/strategy").json() == {"strategy": DEFAULT}
