"""Several servers, freshness, and what the client has seen; through both clients and without waiting."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from konsul import errors
from konsul.client import Client, Policy, Settings
from konsul.errors import Invalid
from tests.client.played import Doing, Played, ok, refusal, run

BOTH = pytest.mark.parametrize("both", ["sync", "async"])
THREE = "http://a.test:1,http://b.test:2,http://c.test:3"
DOWN = httpx.ConnectError("refused")
ROW = {"key": "a", "value": "1"}


def hosts(played: Played) -> str:
    return "".join(request.url.host[0] for request in played.seen)


def no_leader() -> httpx.Response:
    return refusal(503, "no leader", "no leader is known", **{"Retry-After": "1"})


@pytest.mark.parametrize(
    "given", ["http://a.test:1, b.test:2,http://c.test:3/", "a.test:1,b.test:2,c.test:3,a.test:1"]
)
def test_addresses_are_completed_and_named_once(given: str) -> None:
    settings = Settings(given)
    assert settings.addresses == ("http://a.test:1", "http://b.test:2", "http://c.test:3")
    assert settings.address == "http://a.test:1"


@pytest.mark.parametrize("given", ["a.test:1,", "a.test:1,,b.test", "a.test:1,ftp://b", "a.test:99999"])
def test_one_bad_address_of_several_is_refused(given: str) -> None:
    with pytest.raises(Invalid, match="address"):
        Settings(given)


@BOTH
@pytest.mark.parametrize("first", [DOWN, httpx.ReadError("reset"), httpx.ReadTimeout("slow"), no_leader()])
def test_the_next_server_is_asked_at_once(both: str, first: Any) -> None:
    played = Played(first, ok(ROW))
    assert run(played, lambda c: c.kv.get("a"), both=both, address=THREE).text == "1"
    assert (hosts(played), played.pauses_s) == ("ab", [])


def test_who_answered_is_asked_first_from_then_on() -> None:
    played = Played(DOWN, ok(ROW))
    with played.client(address=THREE) as client:
        for _ in range(3):
            client.kv.get("a")
    assert hosts(played) == "abbb"


@BOTH
def test_only_after_all_were_asked_the_client_waits(both: str) -> None:
    played = Played(DOWN, no_leader(), DOWN, DOWN, ok(ROW))
    run(played, lambda c: c.kv.get("a"), both=both, address=THREE)
    assert hosts(played) == "abcab"
    assert len(played.pauses_s) == 1


@BOTH
def test_all_servers_down_ends_with_the_retries(both: str) -> None:
    played = Played(DOWN)
    with pytest.raises(errors.Unreachable):
        run(played, lambda c: c.kv.get("a"), both=both, address=THREE, policy=Policy(retries=2))
    assert (len(played.seen), len(played.pauses_s)) == (9, 2)


def test_the_deadline_ends_it_also_while_servers_are_left() -> None:
    played = Played(httpx.ReadTimeout("slow"))

    def answer(request: httpx.Request) -> httpx.Response:
        played.sleep(6)
        return Played.__call__(played, request)

    settings = played.settings(address=THREE, policy=Policy(deadline_s=10))
    with (
        Client(
            settings, transport=httpx.MockTransport(answer), sleep=played.sleep, clock=lambda: played.now_s
        ) as client,
        pytest.raises(errors.Timeout),
    ):
        client.kv.get("a")
    assert len(played.seen) == 2


@BOTH
def test_a_silent_server_gets_a_part_of_the_time_while_there_are_others(both: str) -> None:
    policy = Policy(deadline_s=30, attempt_s=3)
    for address, granted in ((THREE, 3.0), ("http://a.test:1", 30.0)):
        played = Played(ok(ROW))
        run(played, lambda c: c.kv.get("a"), both=both, address=address, policy=policy)
        assert played.seen[0].extensions["timeout"]["read"] == pytest.approx(granted)


@BOTH
def test_a_short_deadline_is_told_to_the_server(both: str) -> None:
    for deadline_s, told in ((2.0, "2000"), (30.0, None)):
        played = Played(ok(ROW))
        run(played, lambda c: c.kv.get("a"), both=both, policy=Policy(deadline_s=deadline_s))
        assert played.seen[0].headers.get("X-Konsul-Timeout-Ms") == told


READS: dict[str, Doing] = {
    "get": lambda c: c.kv.get("a"),
    "get_many": lambda c: c.kv.get_many(["a"]),
    "services": lambda c: c.services.list(),
}
ANSWERS = {"get": ROW, "get_many": {"found": {}, "not_found": ["a"]}, "services": []}


@BOTH
@pytest.mark.parametrize("name", READS)
def test_a_read_waits_for_what_this_client_has_seen_if_wanted(both: str, name: str) -> None:
    for wanted in (True, False):
        played = Played(ok({"modify_index": 9}, **{"X-Konsul-Index": "9"}), ok(ANSWERS[name]))

        async def told(client: Any) -> None:
            await client.kv.set("a", "1")
            await READS[name](client)

        if both == "async":
            run(played, told, both=both, read_your_writes=wanted)
        else:
            with played.client(read_your_writes=wanted) as client:
                assert client.last_index == 0
                client.kv.set("a", "1")
                READS[name](client)
                assert client.last_index == 9
        write, read = played.seen
        assert "X-Konsul-Min-Index" not in write.headers
        assert read.headers.get("X-Konsul-Min-Index") == ("9" if wanted else None)


def test_the_seen_index_never_goes_back() -> None:
    played = Played(ok(ROW, **{"X-Konsul-Index": "9"}), ok(ROW, **{"X-Konsul-Index": "4"}), ok(ROW))
    with played.client() as client:
        for _ in range(3):
            client.kv.get("a")
            assert client.last_index == 9


@BOTH
def test_how_fresh_a_read_is_can_be_said_once_or_each_time(both: str) -> None:
    wish = {"consistency": "stale", "max_stale": "5s"}
    played = Played(ok(ROW))
    run(played, lambda c: c.kv.get("a"), both=both, **wish)
    run(played, lambda c: c.kv.get("a", consistency="linearizable"), both=both, **wish)
    run(played, lambda c: c.kv.set("a", "1"), both=both, **wish)
    run(played, lambda c: c.cluster.status(), both=both, **wish)
    default, own, write, other = (dict(request.url.params) for request in played.seen)
    assert default == {"metadata": "true", "consistency": "stale", "max_stale": "5s"}
    assert own == {"metadata": "true", "consistency": "linearizable"}
    assert write == other == {}


@BOTH
def test_a_write_that_is_never_repeated_carries_no_key(both: str) -> None:
    for address, carries in (("http://a.test:1", False), (THREE, True)):
        played = Played(ok({"modify_index": 5}))
        run(played, lambda c: c.kv.set("a", "1"), both=both, address=address, policy=Policy(retries=0))
        assert ("Idempotency-Key" in played.seen[0].headers) is carries


@BOTH
def test_only_what_writes_carries_a_key(both: str) -> None:
    for doing in (*READS.values(), lambda c: c.cluster.status(), lambda c: c.services.heartbeat("web")):
        played = Played(httpx.Response(500))
        with pytest.raises(errors.Internal):
            run(played, doing, both=both)
        assert "Idempotency-Key" not in played.seen[0].headers
