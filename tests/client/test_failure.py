"""From answers to errors."""

from __future__ import annotations

import httpx
import pytest

from konsul import errors
from konsul.client import HttpAnswer
from tests.client.played import Played, refusal


def caught(answer: httpx.Response) -> errors.KonsulError:
    with Played(answer).client() as client, pytest.raises(errors.KonsulError) as info:
        client.kv.set("k", "v", cas=3)
    return info.value


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.Invalid),
        (401, errors.Unauthenticated),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (405, errors.Unsupported),
        (413, errors.TooLarge),
        (418, errors.Invalid),
        (429, errors.RateLimited),
        (431, errors.TooLarge),
        (500, errors.Internal),
        (502, errors.Unreachable),
        (503, errors.Busy),
        (504, errors.Timeout),
        (507, errors.DiskFull),
        (599, errors.Internal),
    ],
)
def test_each_status_is_one_class(status: int, kind: type[errors.KonsulError]) -> None:
    assert type(caught(refusal(status, "Reason", "words of the server"))) is kind


def test_message_request_id_and_what_was_on_the_wire() -> None:
    error = caught(refusal(400, "Bad Request", "Invalid JSON body"))
    assert str(error) == "Invalid JSON body (request r-1)"
    cause = error.__cause__
    assert isinstance(cause, HttpAnswer)
    assert (cause.status, cause.error, cause.message, cause.request_id) == (
        400,
        "Bad Request",
        "Invalid JSON body",
        "r-1",
    )


def test_the_request_id_is_also_read_from_the_header() -> None:
    answer = httpx.Response(413, text="Request Entity Too Large", headers={"X-Request-ID": "h-9"})
    assert str(caught(answer)) == "Request Entity Too Large (request h-9)"


def test_a_conflict_tells_the_current_index() -> None:
    body = {
        "error": "CAS conflict",
        "message": "CAS conflict for key 'k': expected ModifyIndex 3, but current is 7",
    }
    error = caught(httpx.Response(409, json=body))
    assert isinstance(error, errors.Conflict)
    assert error.current == 7


def test_the_other_shapes_of_the_contract() -> None:
    assert str(caught(httpx.Response(401, json={"error": "token expired"}))) == "token expired"
    no_leader = caught(httpx.Response(503, json={"error": "no leader", "message": "try again"}))
    assert isinstance(no_leader, errors.NoLeader)
    stale = caught(
        httpx.Response(503, json={"error": "linearizable read failed", "detail": "not the leader"})
    )
    assert isinstance(stale, errors.NoLeader)
    unknown = caught(httpx.Response(404, text="Cannot PUT /kv/k"))
    assert isinstance(unknown, errors.Unsupported)
    assert caught(httpx.Response(502, text="")).args == ("HTTP status 502",)


def test_a_long_page_of_a_proxy_does_not_flood_the_message() -> None:
    assert len(str(caught(httpx.Response(500, text="x" * 100_000)))) < 1_000


def test_a_server_without_guards_is_told_from_an_old_one() -> None:
    absent = httpx.Response(404, text="Cannot GET it")
    with (
        Played(absent).client() as client,
        pytest.raises(errors.Unsupported, match=r"authentication is off .*: KONSUL_AUTH_ENABLED turns it on"),
    ):
        client.auth.verify()
    with (
        Played(absent).client() as client,
        pytest.raises(errors.Unsupported, match=r"policies are off .*: KONSUL_ACL_ENABLED turns them on"),
    ):
        client.acl.policies()
    assert "does not know PUT /kv/{key}: Cannot" in str(caught(httpx.Response(404, text="Cannot PUT /kv/k")))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"path": "app/db"}, "insufficient permissions: kv:write on app/db (request r-1)"),
        ({}, "insufficient permissions: kv:write (request r-1)"),
        ({"capability": 7}, "insufficient permissions (request r-1)"),
    ],
)
def test_a_refusal_says_what_it_would_have_taken(more: dict[str, object], said: str) -> None:
    body = {"error": "forbidden", "message": "insufficient permissions"}
    asked = {"resource": "kv", "capability": "write"}
    answer = httpx.Response(403, json=body | asked | more, headers={"X-Request-ID": "r-1"})
    assert str(caught(answer)) == said
