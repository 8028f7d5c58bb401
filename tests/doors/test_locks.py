"""Locks of keys: `?acquire`, `?release`, transactions, and every other write, which keeps them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import httpx
import msgpack
import pytest

from tests.conftest import LiveServer
from tests.doors.streams import Stream
from tests.waiting import until

Row = dict[str, Any]


def session(http: httpx.Client, **body: Any) -> str:
    made: str = http.post("/sessions", json={"lock_delay": "0s", **body}).json()["id"]
    return made


def acquire(http: httpx.Client, key: str, holder: str, **body: Any) -> Row:
    answer = http.put(f"/kv/{key}?acquire={holder}", json=body)
    assert answer.status_code == 200, answer.text
    found: Row = answer.json()
    return found


def row(http: httpx.Client, key: str) -> Row:
    found: Row = http.get(f"/kv/{key}?metadata=true").json()
    return found


def lock(http: httpx.Client, key: str) -> tuple[str | None, int]:
    found = row(http, key)
    return found.get("session"), found.get("lock_index", 0)


@pytest.fixture
def holder(http: httpx.Client) -> str:
    return session(http)


def test_one_holds_it_and_others_are_told_who(http: httpx.Client, space: str, holder: str) -> None:
    got = acquire(http, space, holder, value="mine")
    assert got["acquired"]
    assert row(http, space) == {
        "create_index": got["modify_index"],
        "flags": 0,
        "key": space,
        "lock_index": got["lock_index"],
        "modify_index": got["modify_index"],
        "session": holder,
        "value": "mine",
    }
    other = session(http)
    answer = http.put(f"/kv/{space}?acquire={other}", json={"value": "theirs"})
    assert answer.json() == {
        "acquired": False,
        "key": space,
        "lock_index": got["lock_index"],
        "session": holder,
    }
    assert int(answer.headers["x-konsul-index"]) >= got["modify_index"]
    assert http.get(f"/kv/{space}").json() == {"key": space, "value": "mine"}


def test_its_holder_writes_and_the_token_stays(http: httpx.Client, space: str, holder: str) -> None:
    first = acquire(http, space, holder, value="one", flags=7)
    again = acquire(http, space, holder, value="two")
    assert again["lock_index"] == first["lock_index"]
    assert again["modify_index"] > first["modify_index"]
    assert (row(http, space)["value"], row(http, space)["flags"]) == ("two", 7)
    assert acquire(http, space, holder)["acquired"]
    assert row(http, space)["value"] == "two", "without a value there is nothing to write"


def test_each_holder_has_a_higher_token_also_over_a_deletion(http: httpx.Client, space: str) -> None:
    tokens = []
    for turn in range(6):
        now = session(http)
        tokens.append(acquire(http, space, now)["lock_index"])
        assert http.put(f"/kv/{space}?release={now}").json()["released"]
        if turn == 2:
            http.delete(f"/kv/{space}")
        if turn == 4:
            http.delete(f"/kv/{space}")
            http.put(f"/kv/{space}", json={"value": "anew"})
    assert tokens == sorted(set(tokens))
    assert tokens[1] == tokens[0] + 1


def test_only_its_holder_releases_it_and_at_once(http: httpx.Client, space: str) -> None:
    holder, other = session(http, lock_delay="60s"), session(http)
    got = acquire(http, space, holder)
    assert http.put(f"/kv/{space}?release={other}").json() == {"key": space, "released": False}
    released = http.put(f"/kv/{space}?release={holder}", json={"value": "bye"})
    assert released.json()["released"]
    assert int(released.headers["x-konsul-index"]) == released.json()["modify_index"] > got["modify_index"]
    found = row(http, space)
    assert (found["value"], found["lock_index"], "session" in found) == ("bye", got["lock_index"], False)
    assert http.put(f"/kv/{space}?release={holder}").json()["released"] is False
    assert acquire(http, space, other)["lock_index"] == got["lock_index"] + 1, "a release has no delay"


def test_a_repeated_release_says_what_the_first_one_said(http: httpx.Client, space: str, holder: str) -> None:
    acquire(http, space, holder)
    headers = {"Idempotency-Key": f"release-{space}"}
    answers = [http.put(f"/kv/{space}?release={holder}", headers=headers).json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0]["released"]


def test_what_a_destroyed_session_held_waits_for_its_delay(http: httpx.Client, space: str) -> None:
    holder, other = session(http, lock_delay="60s"), session(http)
    token = acquire(http, space, holder)["lock_index"]
    http.delete(f"/sessions/{holder}")
    assert lock(http, space) == (None, token)
    refused = acquire(http, space, other)
    assert refused["acquired"] is False
    assert 0 < refused["retry_after_ms"] <= 60_000
    assert http.put(f"/kv/{space}", json={"value": "advisory"}).status_code == 200


def test_a_short_delay_passes(http: httpx.Client, space: str) -> None:
    holder, other = session(http, lock_delay="300ms"), session(http)
    token = acquire(http, space, holder)["lock_index"]
    http.delete(f"/sessions/{holder}")
    until(lambda: acquire(http, space, other)["acquired"], "the lock-delay to pass")
    assert lock(http, space) == (other, token + 1)


def test_a_session_that_deletes_takes_its_keys_along(http: httpx.Client, space: str) -> None:
    holder, other = session(http, behavior="delete", lock_delay="60s"), session(http)
    acquire(http, space, holder, value="short-lived")
    http.delete(f"/sessions/{holder}")
    assert http.get(f"/kv/{space}").status_code == 404
    assert acquire(http, space, other)["retry_after_ms"] > 0, "the delay is the name's, not the row's"


@pytest.mark.parametrize("given", ["", "nobody", "00000000-0000-4000-8000-000000000000", "%00", "A" * 2_000])
def test_a_session_that_is_none_is_refused_with_words(http: httpx.Client, space: str, given: str) -> None:
    answer = http.put(f"/kv/{space}?acquire={given}")
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("invalid session '")
    assert http.get(f"/kv/{space}").status_code == 404


def test_cas_and_acquire_go_together(http: httpx.Client, space: str, holder: str) -> None:
    index = http.put(f"/kv/{space}", json={"value": "v"}).json()["modify_index"]
    wrong = http.put(f"/kv/{space}?acquire={holder}&cas={index + 1}", json={"value": "w"})
    assert (wrong.status_code, lock(http, space)) == (409, (None, 0))
    assert http.put(f"/kv/{space}?acquire={holder}", json={"value": "w", "cas": index}).json()["acquired"]
    absent = http.put(f"/kv/{space}-new?acquire={holder}&cas=5")
    assert (absent.status_code, absent.json()["message"]) == (404, "Key not found")
    assert http.put(f"/kv/{space}-new?acquire={holder}&cas=0").json()["acquired"]


def test_bodies_may_be_raw_or_bad(http: httpx.Client, space: str, holder: str) -> None:
    raw = http.put(f"/kv/{space}?acquire={holder}&raw&flags=9&ttl=1h", content=b"\x00\xff")
    assert raw.json()["acquired"]
    found = row(http, space)
    assert (base64.b64decode(found["value"]), found["flags"], "expires_at" in found) == (b"\x00\xff", 9, True)
    assert http.put(f"/kv/{space}?acquire={holder}", content=b"{").status_code == 400
    both = http.put(f"/kv/{space}?acquire={holder}&release={holder}")
    assert (both.status_code, both.json()["message"]) == (400, "acquire and release cannot be combined")
    cas = http.put(f"/kv/{space}?release={holder}&cas=1")
    assert (cas.status_code, cas.json()["message"]) == (400, "cas cannot be combined with release")
    large = http.put(f"/kv/{space}?acquire={holder}&raw", content=b"x" * (512 * 1024 + 1))
    assert large.status_code == 413


def graphql_set(http: httpx.Client, key: str) -> httpx.Response:
    query = 'mutation($key: String!) { kvSet(key: $key, value: "written") { session lockIndex } }'
    return http.post("/graphql", json={"query": query, "variables": {"key": key}})


WRITES: dict[str, Callable[[httpx.Client, str], httpx.Response]] = {
    "put": lambda http, key: http.put(f"/kv/{key}", json={"value": "written"}),
    "put with everything": lambda http, key: http.put(
        f"/kv/{key}",
        json={"value": "written", "flags": 1, "cas": row(http, key)["modify_index"], "ttl": "1h"},
    ),
    "put of bytes": lambda http, key: http.put(f"/kv/{key}?raw", content=b"written"),
    "put of bytes with flags": lambda http, key: http.put(f"/kv/{key}?raw&flags=3", content=b"written"),
    "batch": lambda http, key: http.post("/batch/kv/set", json={"items": {key: "written", key + "2": "x"}}),
    "batch of msgpack": lambda http, key: http.post(
        "/batch/kv/set",
        content=msgpack.packb({"items": {key: b"written"}}),
        headers={"content-type": "application/msgpack"},
    ),
    "batch with cas": lambda http, key: http.post(
        "/batch/kv/set-cas",
        json={"items": {key: "written"}, "expected_indices": {key: row(http, key)["modify_index"]}},
    ),
    "transaction": lambda http, key: http.post(
        "/transaction", json={"operations": [{"type": "set", "key": key, "value": "written"}]}
    ),
    "graphql": graphql_set,
}


@pytest.mark.parametrize("way", WRITES)
def test_whatever_writes_a_key_keeps_its_lock(http: httpx.Client, space: str, way: str) -> None:
    holder = session(http)
    token = acquire(http, space, holder, value="before")["lock_index"]
    answer = WRITES[way](http, space)
    assert answer.status_code == 200, answer.text
    assert b'"errors"' not in answer.content
    assert (row(http, space)["value"], lock(http, space)) == ("written", (holder, token))
    assert http.put(f"/kv/{space}?release={holder}").json()["released"]
    assert WRITES[way](http, space).status_code == 200
    assert lock(http, space) == (None, token), "the token stays when nobody holds the key"


def test_deleting_a_key_frees_it(http: httpx.Client, space: str, holder: str) -> None:
    token = acquire(http, space, holder)["lock_index"]
    http.delete(f"/kv/{space}")
    other = session(http)
    assert acquire(http, space, other)["lock_index"] > token
    assert http.put(f"/kv/{space}?release={holder}").json()["released"] is False


def test_who_waits_for_a_key_hears_of_its_release(http: httpx.Client, space: str, holder: str) -> None:
    acquire(http, space, holder, value="v")
    index = http.put(f"/kv/{space}?acquire={session(http)}").headers["x-konsul-index"]
    idle = http.get(f"/kv/{space}?metadata=true&index={index}&wait=50ms").json()
    assert idle["session"] == holder
    http.delete(f"/sessions/{holder}")
    changed = http.get(f"/kv/{space}?metadata=true&index={index}&wait=60s").json()
    assert "session" not in changed
    assert changed["modify_index"] > int(index)


def test_a_watch_tells_who_holds_it_and_when_nobody_does(
    server: LiveServer, http: httpx.Client, space: str, holder: str
) -> None:
    with Stream(server.port, f"/kv/watch/{space}") as stream:
        http.put(f"/kv/{space}", json={"value": "v"})
        token = acquire(http, space, holder)["lock_index"]
        http.delete(f"/sessions/{holder}")
        told = [event.data for event in stream.events(3)]
    assert [one["type"] for one in told] == ["set"] * 3
    assert [one.get("session") for one in told] == [None, holder, None]
    assert [one.get("lock_index") for one in told] == [None, token, token]
    assert [one["value"] for one in told] == ["v"] * 3


def test_graphql_shows_who_holds_it(http: httpx.Client, space: str, holder: str) -> None:
    query = "query($key: String!) { kv(key: $key) { value session lockIndex } }"
    asked = {"query": query, "variables": {"key": space}}
    http.put(f"/kv/{space}", json={"value": "v"})
    assert http.post("/graphql", json=asked).json()["data"]["kv"] == {
        "value": "v",
        "session": None,
        "lockIndex": 0,
    }
    token = acquire(http, space, holder)["lock_index"]
    found = http.post("/graphql", json=asked).json()["data"]["kv"]
    assert (found["session"], found["lockIndex"]) == (holder, token)


def transact(http: httpx.Client, *operations: Row) -> httpx.Response:
    return http.post("/transaction", json={"operations": list(operations)})


def test_a_transaction_locks_asks_and_unlocks(http: httpx.Client, space: str, holder: str) -> None:
    keys = [f"{space}/{name}" for name in "ab"]
    http.put(f"/kv/{keys[1]}", json={"value": "old", "flags": 4})
    taken = transact(
        http,
        {"type": "lock", "key": keys[0], "session": holder, "value": "new"},
        {"type": "lock", "key": keys[1], "session": holder},
        {"type": "check-session", "key": keys[0], "session": holder},
        {"type": "get", "key": keys[1]},
    )
    assert taken.status_code == 200, taken.text
    results, index = taken.json()["results"], taken.json()["modify_index"]
    assert results[0] == {"type": "lock", "key": keys[0], "modify_index": index, "lock_index": index}
    assert results[2] == {"type": "check-session", "key": keys[0]}
    assert (results[3]["session"], results[3]["lock_index"], results[3]["value"]) == (holder, index, "old")
    assert [lock(http, key) for key in keys] == [(holder, index)] * 2
    assert row(http, keys[1])["flags"] == 4
    given = transact(
        http,
        {"type": "check-session", "key": keys[0], "session": holder},
        {"type": "set", "key": f"{space}/guarded", "value": "by the lock"},
        {"type": "unlock", "key": keys[0], "session": holder, "value": "done"},
    )
    assert given.status_code == 200, given.text
    assert (row(http, keys[0])["value"], lock(http, keys[0])) == ("done", (None, index))
    again = transact(http, {"type": "lock", "key": keys[0], "session": holder})
    assert again.json()["results"][0]["lock_index"] == index + 1


@pytest.mark.parametrize("kind", ["lock", "unlock", "check-session"])
def test_a_transaction_of_somebody_else_changes_nothing(
    http: httpx.Client, space: str, holder: str, kind: str
) -> None:
    acquire(http, space, holder)
    other = session(http)
    before = row(http, space)
    answer = transact(
        http,
        {"type": "set", "key": f"{space}/x", "value": "v"},
        {"type": kind, "key": space, "session": other},
    )
    message = f"operation 1 ({kind}) failed for key '{space}': session '{holder}' holds its lock"
    assert (answer.status_code, answer.json()["message"]) == (409, message)
    assert row(http, space) == before
    assert http.get(f"/kv/{space}/x").status_code == 404


def test_a_transaction_says_why_a_lock_cannot_be_had(http: httpx.Client, space: str) -> None:
    lost = session(http, lock_delay="60s")
    acquire(http, space, lost)
    http.delete(f"/sessions/{lost}")
    delayed = transact(http, {"type": "lock", "key": space, "session": session(http)})
    assert delayed.status_code == 409
    assert "nobody may take it for another" in delayed.json()["message"]
    ended = transact(http, {"type": "lock", "key": f"{space}-x", "session": lost})
    assert (ended.status_code, "does not exist or has ended" in ended.json()["message"]) == (409, True)
    unheld = transact(http, {"type": "unlock", "key": space, "session": lost})
    assert (unheld.status_code, "nobody holds its lock" in unheld.json()["message"]) == (409, True)
    nobody = transact(http, {"type": "lock", "key": space})
    assert (nobody.status_code, nobody.json()["message"].startswith("operation 0: invalid session")) == (
        400,
        True,
    )


def test_within_a_transaction_locks_follow_what_came_before(http: httpx.Client, space: str) -> None:
    one, two = session(http), session(http)
    answer = transact(
        http,
        {"type": "set", "key": space, "value": "made"},
        {"type": "lock", "key": space, "session": one},
        {"type": "unlock", "key": space, "session": one},
        {"type": "lock", "key": space, "session": two, "value": "two's"},
        {"type": "delete", "key": space},
        {"type": "lock", "key": space, "session": one, "value": "one's"},
        {"type": "get", "key": space},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["results"][-1]["session"] == one
    assert (row(http, space)["value"], lock(http, space)[0]) == ("one's", one)
