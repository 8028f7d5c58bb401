"""`POST /transaction`: all or nothing over several keys."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import msgpack
import pytest

from tests.conftest import LiveServer


def transact(http: httpx.Client, *operations: dict[str, Any]) -> httpx.Response:
    return http.post("/transaction", json={"operations": list(operations)})


def state(http: httpx.Client, space: str) -> tuple[Any, str]:
    """The rows under a prefix, and the index of the node."""
    answer = http.get("/kv/", params={"prefix": space, "recurse": "true"})
    return answer.json(), answer.headers["x-konsul-index"]


def put(http: httpx.Client, key: str, value: str, **more: Any) -> int:
    index: int = http.put(f"/kv/{key}", json={"value": value, **more}).json()["modify_index"]
    return index


def test_its_operations_share_one_index_and_answer_in_order(http: httpx.Client, space: str) -> None:
    old = put(http, f"{space}/old", "before", flags=9)
    put(http, f"{space}/gone", "x")
    answer = transact(
        http,
        {"type": "check", "key": f"{space}/old", "index": old},
        {"type": "set", "key": f"{space}/new", "value": "n", "flags": 3},
        {"type": "delete", "key": f"{space}/gone"},
        {"type": "get", "key": f"{space}/old"},
        {"type": "get", "key": f"{space}/absent"},
    )
    assert answer.status_code == 200, answer.text
    index = answer.json()["modify_index"]
    assert answer.json()["results"] == [
        {"type": "check", "key": f"{space}/old"},
        {"type": "set", "key": f"{space}/new", "modify_index": index},
        {"type": "delete", "key": f"{space}/gone"},
        {
            "type": "get",
            "key": f"{space}/old",
            "found": True,
            "create_index": old,
            "modify_index": old,
            "flags": 9,
            "value": "before",
        },
        {"type": "get", "key": f"{space}/absent", "found": False},
    ]
    rows, at = state(http, space)
    assert [row["key"] for row in rows] == [f"{space}/new", f"{space}/old"]
    assert (rows[0]["modify_index"], int(at)) == (index, index)


def test_a_get_sees_what_came_before_it(http: httpx.Client, space: str) -> None:
    first = put(http, space, "1", flags=5)
    answer = transact(
        http,
        {"type": "set", "key": space, "value": "2"},
        {"type": "get", "key": space},
        {"type": "delete", "key": space},
        {"type": "get", "key": space},
        {"type": "set", "key": space, "value": "3", "flags": 1},
        {"type": "get", "key": space},
    ).json()
    index, gets = answer["modify_index"], [item for item in answer["results"] if item["type"] == "get"]
    assert [item.get("value") for item in gets] == ["2", None, "3"]
    assert (gets[0]["create_index"], gets[0]["modify_index"], gets[0]["flags"]) == (first, index, 5)
    assert (gets[2]["create_index"], gets[2]["modify_index"], gets[2]["flags"]) == (index, index, 1)
    stored = http.get(f"/kv/{space}?metadata=true").json()
    assert {name: stored[name] for name in ("create_index", "modify_index", "flags", "value")} == {
        name: gets[2][name] for name in ("create_index", "modify_index", "flags", "value")
    }


@pytest.mark.parametrize("name", ["index", "cas", "modify_index"])
@pytest.mark.parametrize("verb", ["type", "op", "TYPE"])
def test_the_names_of_other_clients_are_understood(
    http: httpx.Client, space: str, name: str, verb: str
) -> None:
    assert transact(http, {verb: "set", "key": space, "value": "1", name: 0}).status_code == 200
    assert transact(http, {verb: "set", "key": space, "value": "2", name: 0}).status_code == 409


def test_a_failing_operation_is_named_and_nothing_is_applied(http: httpx.Client, space: str) -> None:
    index = put(http, f"{space}/a", "1")
    before = state(http, space)
    write = {"type": "set", "key": f"{space}/b", "value": "2"}
    absent = f"{space}/absent"
    for operation, problem in (
        (
            {"type": "check", "key": f"{space}/a", "index": 0},
            f"expected ModifyIndex 0, but current is {index}",
        ),
        (
            {"type": "set", "key": f"{space}/a", "value": "x", "index": index + 1},
            f"expected ModifyIndex {index + 1}, but current is {index}",
        ),
        ({"type": "delete", "key": absent, "index": 7}, "expected ModifyIndex 7, but it is absent"),
        ({"type": "check", "key": absent}, "expected it to exist, but it is absent"),
    ):
        answer = transact(http, write, operation)
        assert answer.status_code == 409, answer.text
        assert answer.json()["error"] == "CAS conflict"
        key = operation["key"]
        assert (
            answer.json()["message"] == f"operation 1 ({operation['type']}) failed for key '{key}': {problem}"
        )
        assert state(http, space) == before


def test_checks_look_at_the_state_before(http: httpx.Client, space: str) -> None:
    answer = transact(
        http,
        {"type": "set", "key": space, "value": "1"},
        {"type": "check", "key": space, "index": 0},
        {"type": "set", "key": space, "value": "2", "cas": 0},
    )
    assert answer.status_code == 200, answer.text
    assert http.get(f"/kv/{space}").json()["value"] == "2"


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        ([], "Operations array cannot be empty"),
        ([{"type": "get", "key": "k"}] * 129, "Maximum 128 operations per transaction"),
        ([{"type": "get", "key": "k"}, {"type": "swap", "key": "k"}], "operation 1: unknown type 'swap'"),
        ([{"key": "k"}], "operation 0: unknown type ''"),
        ([None], "operation 0: unknown type ''"),
        ([{"type": "get"}], "operation 0: key is required"),
        ([{"type": "get", "key": "a\u0000b"}], "operation 0: key must not contain NUL"),
        ([{"type": "get", "key": "k" * 1025}], "operation 0: key too long: 1025 bytes (max 1024)"),
        ([{"type": "set", "key": "k", "ttl": "soon"}], "operation 0: Invalid TTL"),
        (
            [{"type": "set", "key": "k", "value": "?", "encoding": "base64"}],
            "operation 0: Invalid base64 value",
        ),
        ([{"type": "set", "key": "k", "value": 5}], "Invalid JSON body"),
        ([{"type": "set", "key": "k", "index": -1}], "Invalid JSON body"),
        ([5], "Invalid JSON body"),
        ({"type": "get"}, "Invalid JSON body"),
    ],
)
def test_what_is_wrong_is_named(http: httpx.Client, operations: Any, message: str) -> None:
    before = http.get("/kv/?limit=1").headers["x-konsul-index"]
    answer = http.post("/transaction", json={"operations": operations})
    assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request")
    assert answer.json()["message"].startswith(message)
    assert http.get("/kv/?limit=1").headers["x-konsul-index"] == before


def test_128_operations_fit(http: httpx.Client, space: str) -> None:
    sets = [{"type": "set", "key": f"{space}/{number}", "value": "v"} for number in range(128)]
    assert transact(http, *sets).status_code == 200
    gets = [{"type": "get", "key": f"{space}/{number}"} for number in range(128)]
    assert all(item["found"] for item in transact(http, *gets).json()["results"])


def test_values_may_be_bytes(http: httpx.Client, space: str) -> None:
    sent = {"operations": [{"type": "set", "key": space, "value": b"\xff\x00", "ttl": "1h"}]}
    headers = {"content-type": "application/msgpack"}
    answer = http.post("/transaction", content=msgpack.packb(sent), headers=headers)
    assert answer.headers["content-type"] == "application/msgpack"
    assert msgpack.unpackb(answer.content)["results"][0]["type"] == "set"
    seen = transact(http, {"type": "get", "key": space}).json()["results"][0]
    assert (seen["value"], seen["encoding"]) == ("/wA=", "base64")
    assert seen["expires_at"] == http.get(f"/kv/{space}?metadata=true").json()["expires_at"]
    assert (
        transact(http, {"type": "set", "key": space, "value": "AA==", "encoding": "base64"}).status_code
        == 200
    )
    assert http.get(f"/kv/{space}?raw").content == b"\x00"


def test_transfers_between_two_keys_never_lose_or_make_anything(
    server: LiveServer, http: httpx.Client, space: str
) -> None:
    """Sixteen clients move units at once, each by reading and guarding; the sum must stay."""
    keys = (f"{space}/left", f"{space}/right")
    for key in keys:
        put(http, key, "100")

    def move(number: int) -> int:
        source, target = keys if number % 2 else keys[::-1]
        with httpx.Client(base_url=server.base_url, trust_env=False, timeout=30) as mine:
            for attempt in range(1_000):
                read = transact(mine, {"type": "get", "key": source}, {"type": "get", "key": target})
                if read.status_code == 503:
                    continue
                there, here = read.json()["results"]
                moved = transact(
                    mine,
                    {
                        "type": "set",
                        "key": source,
                        "value": str(int(there["value"]) - number),
                        "index": there["modify_index"],
                    },
                    {
                        "type": "set",
                        "key": target,
                        "value": str(int(here["value"]) + number),
                        "index": here["modify_index"],
                    },
                )
                if moved.status_code == 200:
                    return attempt
                assert moved.status_code in (409, 503), moved.text
        raise AssertionError("never got through")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(move, range(16)))
    left, right = (int(http.get(f"/kv/{key}").json()["value"]) for key in keys)
    assert left + right == 200
    assert left == 100 + sum(range(0, 16, 2)) - sum(range(1, 16, 2))
