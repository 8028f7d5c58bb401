"""The door while the node stops, is short of watches, or is started again."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.ask import ask
from tests.conftest import SMALL, LiveServer
from tests.doors.graphql.speaking import LEGACY, TRANSPORT, Speaker, code_of

EVERYTHING = "subscription { kvChanged { key } }"


def test_a_node_that_stops_says_goodbye_to_everybody(tmp_path: Path) -> None:
    with LiveServer(tmp_path / "data", SMALL) as server:
        sockets = [Speaker(server.port, dialect).begin() for dialect in (TRANSPORT, LEGACY)]
        sockets[0].start("s", EVERYTHING)
        sockets[0].answer("q", "{ __typename }")
        with httpx.stream(
            "POST",
            f"{server.base_url}/graphql",
            json={"query": EVERYTHING},
            headers={"accept": "text/event-stream"},
            trust_env=False,
        ) as stream:
            assert stream.status_code == 200
            assert server.stop() == 0
            lines = list(stream.iter_lines())
        assert not any(line.startswith("event: complete") for line in lines)
        for one in sockets:
            assert one.ended()[0] == 1001
            one.hang_up()


def test_without_watches_there_are_no_subscriptions(tmp_path: Path) -> None:
    with LiveServer(tmp_path / "data", SMALL | {"KONSUL_WATCH_ENABLED": "false"}) as server:
        refused = ask(server.port, "POST", "/graphql", {"query": EVERYTHING}).json()
        assert code_of(refused) == "SUBSCRIPTIONS_DISABLED"
        assert "KONSUL_WATCH_ENABLED" in refused["errors"][0]["message"]


def test_the_limit_of_all_watches_holds_for_subscriptions(tmp_path: Path) -> None:
    with LiveServer(tmp_path / "data", SMALL | {"KONSUL_WATCH_MAX_PER_CLIENT": "2"}) as server:
        one = Speaker(server.port).begin()
        for key in ("a", "b"):
            one.start(key, EVERYTHING)
        one.answer("q", "{ __typename }")
        one.start("c", EVERYTHING)
        message = one.hear()
        assert (message["id"], message["type"]) == ("c", "error")
        assert message["payload"][0]["extensions"]["code"] == "RATE_LIMITED"
        assert "KONSUL_WATCH_MAX_PER_CLIENT" in message["payload"][0]["message"]
        one.stop("a")
        one.answer("q", "{ __typename }")
        one.hang_up()


def test_a_fresh_node_answers_many_first_requests_with_one_schema(tmp_path: Path) -> None:
    with LiveServer(tmp_path / "data", SMALL) as server:
        sockets = [Speaker(server.port).begin() for _ in range(8)]
        for one in sockets:
            one.start("q", "{ __typename }")
        for one in sockets:
            assert one.hear()["payload"] == {"data": {"__typename": "Query"}}
            one.hang_up()
        assert server.output().count("graphql schema built") == 1
