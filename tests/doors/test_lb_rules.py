"""Rules of a service over HTTP: defaults, percentages, the switch from blue to green, warnings, zones."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.conftest import LiveServer
from tests.unit.chi_square import ONE_IN_A_BILLION, follows


def register(http: httpx.Client, name: str, **more: Any) -> None:
    body = {"name": name, "address": "10.0.0.1", "port": 80, **more}
    answer = http.put("/register", json=body)
    assert answer.status_code == 200, answer.text


def said(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()


def rule(http: httpx.Client, service: str, **rules: Any) -> Any:
    return said(http.put(f"/lb/rules/{service}", json=rules))


def chosen(http: httpx.Client, service: str, **params: Any) -> str:
    return str(said(http.get(f"/lb/service/{service}", params=params))["service"]["id"])


def checked(http: httpx.Client, service: str, instance: str, status: str, **more: Any) -> None:
    """Registers an instance whose one check says `status`."""
    check = {"id": f"{service}-{instance}", "name": "alive", "ttl": "10m"}
    register(http, service, id=instance, checks=[check], **more)
    outcome = {"passing": "pass", "warning": "warn", "critical": "fail"}[status]
    said(http.put(f"/health/check/{service}-{instance}/{outcome}"))


@pytest.fixture
def colours(http: httpx.Client, space: str) -> str:
    """A service with two blue and two green instances; returns its name."""
    for colour in ("blue", "green"):
        for number in range(2):
            register(http, space, id=f"{colour}-{number}", tags=[colour], meta={"colour": colour, space: "1"})
    return space


COLOURS = [{"name": "blue", "tags": ["blue"]}, {"name": "green", "meta": {"colour": "green"}}]


def test_a_services_strategy_goes_before_the_nodes_and_behind_the_requests(
    http: httpx.Client, colours: str
) -> None:
    path = f"/lb/service/{colours}"
    assert said(http.get(path))["strategy"] == "round-robin"
    rule(http, colours, strategy="ring-hash")
    assert said(http.get(path))["strategy"] == "ring-hash"
    assert len({chosen(http, colours, session="s") for _ in range(5)}) == 1
    assert said(http.get(path, params={"strategy": "random"}))["strategy"] == "random"
    # Found by filters, they are the instances of the one service with these rules.
    by_filter = said(http.get("/lb/query", params={"tags": "blue", f"meta.{colours}": "1"}))
    assert by_filter["strategy"] == "ring-hash"
    assert said(http.delete(f"/lb/rules/{colours}")) == {"message": "rules deleted", "service": colours}
    assert said(http.get(path))["strategy"] == "round-robin"


def test_rules_are_read_back_as_they_were_said(http: httpx.Client, space: str) -> None:
    rules = {
        "strategy": "ring-hash",
        "warning": "drop",
        "warning_weight_percent": 25,
        "zone": {"prefer": True, "min_percent": 50},
        "load_factor": 1.25,
        "rules": [{"name": "canary", "percent": 2.5, "tags": ["a/b"], "meta": {"k": "v"}}],
        "strict": True,
    }
    written = rule(http, space, **rules)
    assert written["rules"] == rules
    read = said(http.get(f"/lb/rules/{space}"))
    assert (read["service"], read["rules"], read["modify_index"]) == (space, rules, written["modify_index"])
    assert read["set_at"].endswith("Z")
    listed = said(http.get("/lb/rules"))
    assert [one for one in listed["rules"] if one["service"] == space] == [read]
    assert listed["count"] == len(listed["rules"])
    for refused in (http.get("/lb/rules/absent"), http.delete("/lb/rules/absent")):
        assert said(refused, 404)["message"] == "No load balancing rules for this service"


def test_rules_are_written_by_compare_and_set(http: httpx.Client, space: str) -> None:
    path = f"/lb/rules/{space}"
    index = said(http.put(path, params={"cas": 0}, json={"strategy": "random"}))["modify_index"]
    assert said(http.put(path, params={"cas": 0}, json={}), 409)
    assert said(http.put(path, params={"cas": index + 1}, json={}), 409)
    assert said(http.put(path, params={"cas": "x"}, json={}), 400)["message"] == "Invalid CAS parameter"
    assert said(http.delete(path, params={"cas": index + 1}), 409)
    assert said(http.get(path))["rules"] == {"strategy": "random"}
    said(http.delete(path, params={"cas": index}))
    assert said(http.delete(path), 404)
    assert said(http.put(path, params={"cas": 7}, json={}), 404)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "the rules: expected an object"),
        ({"stratgy": "random"}, "the rules: there is no 'stratgy', expected strategy, warning"),
        ({"strategy": "best"}, "Invalid strategy. Must be one of: round-robin"),
        ({"strategy": 7}, "strategy: expected a text"),
        ({"warning": "hide"}, "warning: expected keep or drop"),
        ({"warning_weight_percent": 0}, "warning_weight_percent: expected a whole number from 1 to 100"),
        ({"zone": {"only": True}}, "zone: there is no 'only', expected prefer, min_percent"),
        ({"zone": {"prefer": "yes"}}, "zone.prefer: expected true or false"),
        ({"load_factor": 1}, "load_factor: expected a number from 1.01 to 100"),
        ({"load_factor": True}, "load_factor: expected a number from 1.01 to 100"),
        ({"rules": {}}, "rules: expected a list"),
        ({"rules": [{"name": "Big", "tags": ["a"]}]}, "rule 'Big': expected a name that matches"),
        ({"rules": [{"name": "a"}]}, "rule a: expected 1 to 32 tags and meta pairs to match"),
        ({"rules": [{"name": "a", "tags": "x"}]}, "rule a: expected tags as a list and meta as an object"),
        ({"rules": [{"name": "a", "tags": [""]}]}, "tags: expected a text of 1 to 768 bytes"),
        ({"rules": [{"name": "a", "tags": ["x"], "percent": 101}]}, "rule a: expected a percent from 0 to"),
        ({"rules": [{"name": "a", "tags": ["x"], "percent": 1.234}]}, "rule a: expected a percent from 0"),
        ({"rules": [{"name": "a", "tags": ["x"]}] * 2}, "rules: two of them have the same name"),
        (
            {"rules": [{"name": name, "tags": ["x"], "percent": 51} for name in "ab"]},
            "rules: the percentages are more than 100 together",
        ),
        ({"rules": COLOURS, "active": "red"}, "active is 'red': expected the name of one of the rules"),
        (
            {"rules": [{"name": "a", "tags": ["x"], "percent": 5}], "active": "a"},
            "active and percent exclude each other",
        ),
        (
            {"rules": [{"name": f"r{number}", "tags": ["x"]} for number in range(17)]},
            "too many rules: 17 (max 16: KONSUL_LB_SPLIT_MAX)",
        ),
    ],
)
def test_a_rule_that_cannot_be_changes_nothing(
    http: httpx.Client, space: str, body: Any, message: str
) -> None:
    refused = said(http.put(f"/lb/rules/{space}", json=body), 400)
    assert refused["message"].startswith(message)
    assert http.get(f"/lb/rules/{space}").status_code == 404


def test_a_body_that_is_no_json_is_refused(http: httpx.Client, space: str) -> None:
    headers = {"content-type": "application/json"}
    for path in (f"/lb/rules/{space}", f"/lb/service/{space}/split", f"/lb/rules/{space}/active"):
        refused = said(http.put(path, content=b"{", headers=headers), 400)
        assert refused["message"] == "Invalid JSON body"


def test_a_canary_gets_its_percentage_at_random(http: httpx.Client, colours: str) -> None:
    rule(http, colours, rules=[{"name": "canary", "percent": 10, "tags": ["green"]}])
    answers = [said(http.get(f"/lb/service/{colours}")) for _ in range(1_200)]
    counts = Counter(answer["service"]["tags"][0] for answer in answers)
    assert follows(counts, {"green": 0.1, "blue": 0.9}, ONE_IN_A_BILLION)
    # The answer says whose it is, and within both sides it goes by turns.
    assert {answer["service"]["tags"][0] for answer in answers if answer.get("rule") == "canary"} == {"green"}
    assert {answer["service"]["tags"][0] for answer in answers if "rule" not in answer} == {"blue"}
    per_instance = Counter(answer["service"]["id"] for answer in answers)
    assert abs(per_instance["blue-0"] - per_instance["blue-1"]) <= 1


def test_a_session_stays_on_its_side_of_a_percentage(http: httpx.Client, colours: str) -> None:
    canary = {"name": "canary", "percent": 20, "tags": ["green"]}
    rule(http, colours, rules=[canary])
    sides = {
        number: chosen(http, colours, session=f"user-{number}").partition("-")[0] for number in range(600)
    }
    assert follows(Counter(sides.values()), {"green": 0.2, "blue": 0.8}, ONE_IN_A_BILLION)
    for number in range(100):
        assert chosen(http, colours, **{"session-key": f"user-{number}"}).startswith(sides[number])
    rule(http, colours, rules=[canary | {"percent": 60}])
    for number in range(300):
        now = chosen(http, colours, session=f"user-{number}").partition("-")[0]
        assert now == "green" or sides[number] == "blue"


def test_the_switch_is_whole_for_every_request_begun_after_it(
    http: httpx.Client, server: LiveServer, colours: str
) -> None:
    rule(http, colours, rules=COLOURS, active="blue")
    switched = threading.Event()
    stop = threading.Event()
    wrong: list[str] = []
    asked = Counter[str]()

    def ask() -> None:
        with httpx.Client(base_url=server.base_url, timeout=30, trust_env=False) as own:
            while not stop.is_set():
                is_after = switched.is_set()
                one = chosen(own, colours)
                asked[f"{is_after} {one.partition('-')[0]}"] += 1
                if is_after and not one.startswith("green"):
                    wrong.append(one)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            assert chosen(http, colours).startswith("blue")
        answer = said(http.put(f"/lb/rules/{colours}/active", json={"active": "green"}))
        switched.set()
        assert (answer["active"], answer["message"]) == ("green", "rule activated")
        for _ in range(50):
            assert chosen(http, colours).startswith("green")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert {"False blue", "True green"} <= set(asked)


def test_a_switch_to_what_is_not_there_is_refused(http: httpx.Client, colours: str) -> None:
    path = f"/lb/rules/{colours}/active"
    assert said(http.put(path, json={"active": "green"}), 404)
    rule(http, colours, rules=COLOURS, active="blue", strategy="random")
    assert "expected the name" in said(http.put(path, json={"active": "red"}), 400)["message"]
    said(http.put(path, json={"active": "green"}))
    assert said(http.get(f"/lb/rules/{colours}"))["rules"] == {
        "strategy": "random",
        "rules": COLOURS,
        "active": "green",
    }


def test_a_part_without_instances_is_replaced_unless_the_rules_are_strict(
    http: httpx.Client, colours: str
) -> None:
    red = {"name": "red", "tags": ["red"]}
    rule(http, colours, rules=[*COLOURS, red], active="red")
    answer = said(http.get(f"/lb/service/{colours}"))
    assert "rule" not in answer
    rule(http, colours, rules=[*COLOURS, red], active="red", strict=True)
    refused = said(http.get(f"/lb/service/{colours}"), 404)
    assert refused["message"] == "No service instances available"
    assert chosen(http, colours, rule="green").startswith("green")
    assert said(http.get(f"/lb/service/{colours}", params={"rule": "pink"}), 400)["message"] == (
        "there is no rule 'pink' for what is asked"
    )


def test_the_split_is_a_part_of_the_rules(http: httpx.Client, colours: str) -> None:
    path = f"/lb/service/{colours}/split"
    assert said(http.get(path), 404)
    canary = {"name": "canary", "percent": 100, "tags": ["green"]}
    written = said(http.put(path, json={"rules": [canary]}))
    assert (written["service"], written["split"]) == (colours, {"rules": [canary]})
    assert said(http.get(f"/lb/rules/{colours}"))["rules"] == {"rules": [canary]}
    assert {chosen(http, colours)[:5] for _ in range(10)} == {"green"}
    rule(http, colours, strategy="random", rules=[canary])
    said(http.put(path, json={"rules": COLOURS, "active": "blue"}))
    assert said(http.get(f"/lb/rules/{colours}"))["rules"] == {
        "strategy": "random",
        "rules": COLOURS,
        "active": "blue",
    }
    assert said(http.get(path))["split"] == {"rules": COLOURS, "active": "blue"}
    refused = said(http.put(path, json={"rules": [], "strategy": "random"}), 400)
    assert refused["message"] == "a split: there is no 'strategy', expected rules, active, strict"
    said(http.delete(path))
    assert said(http.get(f"/lb/rules/{colours}"))["rules"] == {"strategy": "random"}
    assert said(http.delete(path), 404)


def test_the_last_thing_said_takes_the_rules_with_it(http: httpx.Client, colours: str) -> None:
    said(http.put(f"/lb/service/{colours}/split", json={"rules": COLOURS, "active": "blue"}))
    said(http.delete(f"/lb/service/{colours}/split"))
    assert said(http.get(f"/lb/rules/{colours}"), 404)


def test_critical_instances_are_never_chosen_and_warnings_as_it_is_said(
    http: httpx.Client, space: str
) -> None:
    for status in ("passing", "warning", "critical"):
        checked(http, space, status, status)
    path = f"/lb/service/{space}"
    assert {chosen(http, space) for _ in range(10)} == {"passing", "warning"}
    for params in ({"warning": "drop"}, {"passing": "true"}, {"passing": ""}):
        assert {chosen(http, space, **params) for _ in range(5)} == {"passing"}
    rule(http, space, warning="drop")
    assert {chosen(http, space) for _ in range(5)} == {"passing"}
    assert {chosen(http, space, warning="keep") for _ in range(5)} == {"passing", "warning"}
    assert (
        said(http.get(path, params={"warning": "hide"}), 400)["message"] == "warning: expected keep or drop"
    )
    rule(http, space, strategy="weighted-round-robin", warning_weight_percent=25)
    assert Counter(chosen(http, space) for _ in range(25)) == {"passing": 20, "warning": 5}
    said(http.put(f"/health/check/{space}-passing/fail"))
    assert {chosen(http, space) for _ in range(5)} == {"warning"}
    assert said(http.get(path, params={"warning": "drop"}), 404)
    said(http.put(f"/health/check/{space}-warning/fail"))
    assert said(http.get(path), 404)["message"] == "No service instances available"


def test_a_zone_keeps_its_clients_while_enough_of_it_serves(http: httpx.Client, space: str) -> None:
    for zone in ("east", "west"):
        for number in range(4):
            checked(http, space, f"{zone}-{number}", "passing", zone=zone)
    params = {"strategy": "zone-aware", "zone": "east"}
    assert Counter(chosen(http, space, **params)[:4] for _ in range(40)) == {"east": 40}
    assert {chosen(http, space, **params) for _ in range(8)} == {f"east-{number}" for number in range(4)}
    assert Counter(chosen(http, space)[:4] for _ in range(40)) == {"east": 20, "west": 20}
    for number in range(2):
        said(http.put(f"/health/check/{space}-east-{number}/fail"))
    # Half of the zone serves: 50 of 70 percent of its clients stay.
    counts = Counter(chosen(http, space, **params)[:4] for _ in range(800))
    assert follows(counts, {"east": 0.7142, "west": 0.2858}, ONE_IN_A_BILLION)
    sides = {number: chosen(http, space, session=f"s{number}", **params)[:4] for number in range(40)}
    assert {number: chosen(http, space, session=f"s{number}", **params)[:4] for number in sides} == sides
    rule(http, space, strategy="random", zone={"prefer": True, "min_percent": 50})
    assert {chosen(http, space, zone="east")[:4] for _ in range(30)} == {"east"}
    for number in range(2, 4):
        said(http.put(f"/health/check/{space}-east-{number}/fail"))
    assert {chosen(http, space, zone="east")[:4] for _ in range(10)} == {"west"}
    assert {chosen(http, space, zone="nowhere")[:4] for _ in range(10)} == {"west"}


def test_several_instances_at_once(http: httpx.Client, colours: str) -> None:
    answer = said(http.get(f"/lb/service/{colours}", params={"limit": 3}))
    assert [one["id"] for one in answer["services"]] == ["blue-0", "blue-1", "green-0"]
    assert answer["service"] == answer["services"][0]
    answer = said(http.get("/lb/tags", params={"tags": "blue", "limit": 99, "strategy": "random"}))
    assert len({(one["name"], one["id"]) for one in answer["services"]}) == len(answer["services"]) >= 2
    for limit in ("0", "101", "x", "-1"):
        refused = said(http.get(f"/lb/service/{colours}", params={"limit": limit}), 400)
        assert refused["message"] == "limit: expected a number from 1 to 100"


def test_a_proxy_says_whose_address_counts(http: httpx.Client, colours: str) -> None:
    params = {"strategy": "ip-hash"}
    own = {chosen(http, colours, **params) for _ in range(5)}
    assert len(own) == 1
    others = {chosen(http, colours, **params, **{"client-ip": f"10.0.0.{number}"}) for number in range(40)}
    assert len(others) == 4
    refused = said(http.get(f"/lb/service/{colours}", params={"client-ip": "nobody"}), 400)
    assert refused["message"] == "client-ip: expected an IP address"


def test_no_instance_of_the_ring_is_loaded_above_the_factor(http: httpx.Client, colours: str) -> None:
    params = {"strategy": "ring-hash", "session": "everybody's", "load-factor": "1.25"}
    counts = Counter(chosen(http, colours, **params) for _ in range(80))
    assert max(counts.values()) <= 25
    assert len(counts) == 4
    for factor in ("1", "nan", "x", "101"):
        refused = said(http.get(f"/lb/service/{colours}", params={"load-factor": factor}), 400)
        assert refused["message"] == "load_factor: expected a number from 1.01 to 100"
