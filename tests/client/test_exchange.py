"""Retries, back-off, redirects and deadlines, through both clients and without waiting."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from konsul import errors
from konsul.client import Policy, Service
from tests.client.played import ADDRESS, Played, ok, refusal, run

BOTH = pytest.mark.parametrize("both", ["sync", "async"])
SECRET = {"token": "secret"}


def busy() -> httpx.Response:
    return refusal(503, "Service Unavailable", "too many proposals wait")


REPEATABLE = {
    "get": lambda c: c.kv.get("a"),
    "set": lambda c: c.kv.set("a", "1"),
    "set raw": lambda c: c.kv.set("a", b"\xff"),
    "delete": lambda c: c.kv.delete("a"),
    "set_many": lambda c: c.kv.set_many({"a": "1"}),
    "delete_many": lambda c: c.kv.delete_many(["a"]),
    "register": lambda c: c.services.register(Service("web", "h", 80)),
    "heartbeat": lambda c: c.services.heartbeat("web"),
    "deregister": lambda c: c.services.deregister("web"),
}
ONCE = {
    "set cas": lambda c: c.kv.set("a", "1", cas=3),
    "set raw cas": lambda c: c.kv.set("a", b"\xff", cas=3),
    "delete cas": lambda c: c.kv.delete("a", cas=3),
    "set_many_cas": lambda c: c.kv.set_many_cas({"a": "1"}, {"a": 0}),
    "delete_many_cas": lambda c: c.kv.delete_many_cas({"a": 3}),
    "transaction": lambda c: c.transaction([]),
    "register cas": lambda c: c.services.register(Service("web", "h", 80), cas=0),
    "deregister cas": lambda c: c.services.deregister("web", cas=3),
}
LOST = [
    pytest.param(httpx.ReadError("connection reset"), errors.Unreachable, id="reset"),
    pytest.param(httpx.RemoteProtocolError("server disconnected"), errors.Unreachable, id="closed"),
    pytest.param(httpx.ReadTimeout("slow"), errors.Timeout, id="slow"),
]


@BOTH
@pytest.mark.parametrize("name", REPEATABLE)
def test_a_repeatable_call_goes_on_after_503s_and_back_off_doubles(both: str, name: str) -> None:
    answers = {"found": {}, "not_found": [], "count": 1, "key": "a", "value": "1", "modify_index": 5}
    packed = httpx.Response(200, json=answers)
    played = Played(busy(), busy(), busy(), packed)
    run(played, REPEATABLE[name], both=both)
    assert len(played.seen) == 4
    assert played.pauses_s == [0.025, 0.05, 0.1]


@BOTH
@pytest.mark.parametrize("name", ONCE)
def test_a_guarded_write_without_a_key_is_not_repeated_after_a_503(both: str, name: str) -> None:
    played = Played(busy())
    with pytest.raises(errors.Busy):
        run(played, ONCE[name], both=both, idempotent=False)
    assert len(played.seen) == 1


@BOTH
@pytest.mark.parametrize("name", ONCE)
@pytest.mark.parametrize("first", [busy(), refusal(504, "Gateway Timeout", "late"), httpx.ReadError("reset")])
def test_a_guarded_write_is_repeated_under_its_one_key(both: str, name: str, first: Any) -> None:
    answers = {"count": 1, "new_indices": {"a": 1}, "modify_index": 5}
    played = Played(first, ok(answers))
    run(played, ONCE[name], both=both)
    one, two = (request.headers["Idempotency-Key"] for request in played.seen)
    assert one == two
    run(played, ONCE[name], both=both)
    assert played.seen[-1].headers["Idempotency-Key"] != one, "another call, another key"


@BOTH
@pytest.mark.parametrize("name", ONCE)
@pytest.mark.parametrize(("lost", "error"), LOST)
def test_a_guarded_write_without_a_key_whose_outcome_is_unknown_is_not_repeated(
    both: str, name: str, lost: Exception, error: type[Exception]
) -> None:
    played = Played(lost)
    with pytest.raises(error):
        run(played, ONCE[name], both=both, idempotent=False)
    assert len(played.seen) == 1


@BOTH
@pytest.mark.parametrize(("lost", "error"), LOST)
def test_a_repeatable_call_survives_a_lost_connection(
    both: str, lost: Exception, error: type[Exception]
) -> None:
    played = Played(lost, ok({"key": "a", "value": "1"}))
    assert run(played, REPEATABLE["get"], both=both).value == b"1"
    stubborn = Played(lost)
    with pytest.raises(error):
        run(stubborn, REPEATABLE["get"], both=both)
    assert len(stubborn.seen) == 1 + Policy().retries


@BOTH
@pytest.mark.parametrize("name", ONCE)
def test_what_was_never_sent_may_always_be_sent_again(both: str, name: str) -> None:
    answers = {"count": 1, "new_indices": {"a": 1}, "modify_index": 5}
    played = Played(httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"), ok(answers))
    run(played, ONCE[name], both=both)
    assert len(played.seen) == 3


@BOTH
def test_the_server_decides_the_pause_when_it_names_one(both: str) -> None:
    later = refusal(503, "Service Unavailable", "no leader", **{"Retry-After": "3"})
    played = Played(later, ok({"key": "a", "value": "1"}))
    run(played, REPEATABLE["get"], both=both)
    assert played.pauses_s == [3.0]


@BOTH
def test_the_deadline_ends_it_before_a_pause_that_would_pass_it(both: str) -> None:
    later = refusal(503, "Service Unavailable", "no leader", **{"Retry-After": "20"})
    played = Played(later)
    with pytest.raises(errors.NoLeader):
        run(played, REPEATABLE["get"], both=both, policy=Policy(deadline_s=30))
    assert played.pauses_s == [20.0]


@BOTH
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 429, 500, 507])
def test_other_refusals_are_final(both: str, status: int) -> None:
    played = Played(refusal(status, "Error", "no"))
    with pytest.raises(errors.KonsulError):
        run(played, REPEATABLE["get"], both=both)
    assert len(played.seen) == 1


@BOTH
def test_a_redirect_is_followed_with_method_body_parameters_and_credentials(both: str) -> None:
    leader = httpx.Response(307, headers={"Location": "http://leader.test:9999/kv/a?raw=true&cas=3"})
    bare = httpx.Response(307, headers={"Location": "http://other.test:9998/kv/a"})
    done = ok({"modify_index": 7})

    def write(client: Any) -> Any:
        return client.kv.set("a", b"\xfe", cas=3)

    known = {"address": f"{ADDRESS},http://other.test:9998", "redirect_to": ("http://leader.test:9999",)}
    for turn, host in ((leader, "leader.test"), (bare, "other.test")):
        played = Played(turn, done)
        assert run(played, write, both=both, **SECRET, **known).modify_index == 7
        first, second = played.seen
        assert (second.method, second.url.host, second.content) == ("PUT", host, b"\xfe")
        assert dict(second.url.params) == dict(first.url.params) == {"raw": "true", "cas": "3"}
        assert second.headers["Authorization"] == "Bearer secret"


@BOTH
@pytest.mark.parametrize(
    "elsewhere", ["http://foreign.test/kv/a", "http://konsul.test:8889/kv/a", "http://foreign.test:8888/kv/a"]
)
def test_a_redirect_to_a_server_nobody_named_is_not_followed(both: str, elsewhere: str) -> None:
    played = Played(httpx.Response(307, headers={"Location": elsewhere}))
    with pytest.raises(errors.Invalid, match="none of the addresses"):
        run(played, REPEATABLE["set"], both=both, **SECRET)
    assert len(played.seen) == 1


@BOTH
def test_redirects_end(both: str) -> None:
    played = Played(httpx.Response(307, headers={"Location": f"{ADDRESS}/kv/a"}))
    with pytest.raises(errors.KonsulError):
        run(played, REPEATABLE["get"], both=both)
    assert len(played.seen) == 1 + Policy().redirects


@BOTH
def test_credentials_never_follow_a_redirect_from_https_to_http(both: str) -> None:
    played = Played(httpx.Response(307, headers={"Location": "http://leader.test/kv/a"}))
    with pytest.raises(errors.Invalid, match="https"):
        run(played, REPEATABLE["get"], both=both, address="https://konsul.test")
    assert len(played.seen) == 1


@BOTH
@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>a proxy</html>"),
        httpx.Response(200, json=[1, 2]),
        httpx.Response(200, json={"value": "no key"}),
        httpx.Response(200, json={"key": "a", "value": "%", "encoding": "base64"}),
    ],
)
def test_an_answer_of_another_shape_is_an_error_of_ours(both: str, answer: httpx.Response) -> None:
    with pytest.raises(errors.Internal):
        run(Played(answer), REPEATABLE["get"], both=both)


def test_the_back_off_is_bounded() -> None:
    policy = Policy()
    pauses = [policy.pause_s(attempt, 1.0) for attempt in range(1, 20)]
    assert pauses[0] == policy.pause_first_s
    assert max(pauses) == policy.pause_max_s
    assert policy.pause_s(5, 0.0) == 0.0


@BOTH
def test_every_attempt_is_observed(both: str) -> None:
    seen: list[Any] = []
    played = Played(busy(), httpx.ReadError("reset"), ok({"key": "a", "value": "1"}))
    run(played, REPEATABLE["get"], both=both, observe=seen.append)
    assert [(one.route, one.status) for one in seen] == [
        ("GET /kv/{key}", 503),
        ("GET /kv/{key}", 0),
        ("GET /kv/{key}", 200),
    ]
    assert [bool(one.error) for one in seen] == [True, True, False]
