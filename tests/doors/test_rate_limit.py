"""What a client sees of the rate limits, whatever it asks for."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.conftest import LiveServer
from tests.doors.rate_limited import ADMIN, BURST, SLOW, address, admin, caller, left, limited, spend

TOKEN_S = round(1 / SLOW)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with limited(tmp_path_factory.mktemp("rates") / "data") as running:
        yield running


def test_every_answer_tells_what_is_left(server: LiveServer) -> None:
    with caller(server) as http:
        began = int(time.time())
        answer = http.get("/kv/nothing")
    headers = answer.headers
    assert answer.status_code == 404
    assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == ("10", "9")
    assert began <= int(headers["x-ratelimit-reset"]) <= time.time()
    assert headers["ratelimit-policy"] == f'"default";q={BURST};w={BURST * TOKEN_S}'
    assert headers["ratelimit"] == f'"default";r=9;t={TOKEN_S}'
    assert "retry-after" not in headers


def test_over_its_burst_a_client_is_told_when_to_come_back(server: LiveServer) -> None:
    client = address()
    with caller(server, client) as http:
        assert spend(http, BURST) == [404] * BURST
        answer = http.get("/kv/nothing")
    assert answer.status_code == 429
    body = answer.json()
    wait_s = int(answer.headers["retry-after"])
    assert wait_s == body["retry_after"]
    # The bucket was empty a moment ago; what has come back since is far less than a token.
    assert 0.9 * TOKEN_S < wait_s <= TOKEN_S
    assert body["error"] == "rate_limit_exceeded"
    assert body["identifier"] == f"ip:{client}"
    assert body["message"] == f"Rate limit exceeded. Please retry after {wait_s} seconds."
    assert re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z", body["reset_at"])
    assert answer.headers["x-ratelimit-remaining"] == "0"
    reset_s = int(answer.headers["x-ratelimit-reset"])
    assert time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(reset_s)) == body["reset_at"]
    assert math.isclose(reset_s - time.time(), wait_s, abs_tol=30)


def test_a_refused_request_costs_nothing(server: LiveServer) -> None:
    with caller(server) as http:
        spend(http, BURST)
        waits = [int(http.get("/kv/nothing").headers["retry-after"]) for _ in range(3)]
    assert sorted(waits, reverse=True) == waits


def test_clients_have_a_bucket_each(server: LiveServer) -> None:
    with caller(server) as one, caller(server) as other:
        assert spend(one, BURST + 1)[-1] == 429
        assert spend(other, 1) == [404]


@pytest.mark.parametrize("path", ["/nowhere", "/metrics", "/openapi.json", "/health", "/graphql"])
def test_every_route_spends(server: LiveServer, path: str) -> None:
    with caller(server) as http:
        assert left(http.get(path)) < BURST


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_probes_spend_nothing_and_are_never_refused(server: LiveServer, path: str) -> None:
    with caller(server) as http:
        spend(http, BURST + 1)
        answer = http.get(path)
    assert answer.status_code == 200
    assert "x-ratelimit-limit" not in answer.headers


def test_preflights_spend_nothing(server: LiveServer) -> None:
    with caller(server) as http:
        spend(http, BURST + 1)
        asked = {"Origin": "http://x", "Access-Control-Request-Method": "PUT"}
        assert http.options("/kv/a", headers=asked).status_code == 204


def test_a_batch_costs_by_its_items(server: LiveServer) -> None:
    with caller(server) as http:
        assert left(http.post("/batch/kv/get", json={"keys": ["a"]})) == BURST - 1
    with caller(server) as http:
        answer = http.post("/batch/kv/get", json={"keys": [f"k{i}" for i in range(250)]})
    assert (answer.status_code, left(answer)) == (200, BURST - 1 - 5)


def test_a_batch_that_is_too_dear_gets_back_what_it_spent(server: LiveServer) -> None:
    with caller(server) as http:
        spend(http, 5)
        answer = http.post("/batch/kv/get", json={"keys": [f"k{i}" for i in range(300)]})
        assert (answer.status_code, left(answer)) == (429, 5)
        # 1 and 6 for the items: two more have to come.
        assert TOKEN_S < int(answer.headers["retry-after"]) <= 2 * TOKEN_S
        assert spend(http, 1) == [404]


def test_no_batch_is_dearer_than_a_whole_bucket(server: LiveServer) -> None:
    with caller(server) as http:
        answer = http.post("/batch/kv/get", json={"keys": [f"k{i}" for i in range(1_000)]})
    assert (answer.status_code, left(answer)) == (200, 0)


def test_one_network_of_ipv6_is_one_client(server: LiveServer) -> None:
    with caller(server, "2001:db8:1:2::1") as one, caller(server, "2001:db8:1:2:ffff::9") as other:
        assert spend(one, BURST) == [404] * BURST
        answer = other.get("/kv/nothing")
        assert (answer.status_code, answer.json()["identifier"]) == (429, "ip:2001:db8:1:2::/64")
    with caller(server, "2001:db8:1:3::1") as neighbour:
        assert spend(neighbour, 1) == [404]


def test_ipv4_inside_ipv6_is_the_same_client(server: LiveServer) -> None:
    client = address()
    with caller(server, f"::ffff:{client}") as one, caller(server, client) as same:
        assert spend(one, BURST) == [404] * BURST
        assert spend(same, 1) == [429]


def test_only_a_trusted_proxy_names_the_client(server: LiveServer) -> None:
    """What a client writes itself stands left of what the proxy adds, and is not believed."""
    client = address()
    for forged in (address() for _ in range(BURST)):
        with caller(server, f"{forged}, {client}") as http:
            assert spend(http, 1) == [404]
    with caller(server, f"{address()}, {client}") as http:
        assert http.get("/kv/nothing").json()["identifier"] == f"ip:{client}"


def test_the_white_list_lets_through_without_spending(server: LiveServer) -> None:
    client = address()
    with admin(server) as root, caller(server, client) as http:
        spend(http, BURST + 1)
        body = {"identifier": client, "type": "ip", "reason": "a friend"}
        assert root.post(f"{ADMIN}/whitelist", json=body).status_code == 200
        answer = http.get("/kv/nothing")
        assert (answer.status_code, "x-ratelimit-limit" in answer.headers) == (404, False)
        assert spend(http, 3 * BURST) == [404] * (3 * BURST)
        assert root.delete(f"{ADMIN}/whitelist/{client}").status_code == 200
        assert spend(http, 1) == [429]


def test_the_black_list_keeps_a_network_out(server: LiveServer) -> None:
    with admin(server) as root, caller(server, "203.0.113.77") as http:
        assert spend(http, 1) == [404]
        body = {"identifier": "203.0.113.0/24", "type": "ip", "reason": "a foe", "duration": "1h"}
        assert root.post(f"{ADMIN}/blacklist", json=body).status_code == 200
        answer = http.get("/kv/nothing")
        assert (answer.status_code, answer.json()) == (
            403,
            {
                "error": "access_denied",
                "message": "Your access has been blocked",
                "identifier": "ip:203.0.113.77",
            },
        )
        assert http.put("/kv/a", json={"value": "1"}).status_code == 403
        assert http.get("/health/live").status_code == 200
        with caller(server, "203.0.114.1") as outside:
            assert spend(outside, 1) == [404]
        assert root.delete(f"{ADMIN}/blacklist/203.0.113.0%2F24").status_code == 200
        assert spend(http, 1) == [404]


def test_who_is_on_both_lists_is_kept_out(server: LiveServer) -> None:
    client = address()
    body = {"identifier": client, "type": "ip", "reason": "", "duration": "1h"}
    with admin(server) as root, caller(server, client) as http:
        for name in ("whitelist", "blacklist"):
            assert root.post(f"{ADMIN}/{name}", json=body).status_code == 200
        assert spend(http, 1) == [403]


def test_the_metrics_count_each_answer(server: LiveServer) -> None:
    def counts(root: httpx.Client) -> dict[str, float]:
        lines = [line for line in root.get("/metrics").text.splitlines() if line.startswith("konsul_rate_")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    with admin(server) as root:
        before = counts(root)
        with caller(server) as http:
            spend(http, BURST + 2)
        after = counts(root)
    grown = {name: after[name] - before[name] for name in after}
    requests = 'konsul_rate_limit_requests_total{limiter_type="ip",status="%s"}'
    assert (grown[requests % "allowed"], grown[requests % "exceeded"]) == (BURST, 2)
    assert grown[requests % "whitelisted"] == 1
    assert grown['konsul_rate_limit_exceeded_total{limiter_type="ip"}'] == 2
    assert grown['konsul_rate_limit_active_clients{limiter_type="ip"}'] == 1


def test_an_operation_of_graphql_costs_by_its_complexity(server: LiveServer) -> None:
    small, large = "{kvList(limit:1){items{key}}}", "{kvList(limit:300){items{key}}}"
    with caller(server) as http:
        cheap = left(http.post("/graphql", json={"query": small}))
        dear = left(http.post("/graphql", json={"query": large}))
    assert cheap == BURST - 1
    # 300 items of one field each, and a token for every hundred.
    assert dear == cheap - 1 - 3


def test_an_operation_that_is_too_dear_is_refused_as_any_request(server: LiveServer) -> None:
    with caller(server) as http:
        spend(http, BURST - 2)
        answer = http.post("/graphql", json={"query": "{kvList(limit:900){items{key}}}"})
        assert (answer.status_code, answer.json()["error"]) == (429, "rate_limit_exceeded")
        assert spend(http, 3) == [404, 404, 429]
