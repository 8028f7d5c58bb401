"""`curl -N`: what an operator at a terminal sees of a watch."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.ask import ask, put
from tests.conftest import LiveServer
from tests.real_clients.spoken import Spoken

COMMENTS_MAX = 20
"""One each second: an event that comes later than so many is late."""
HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
    "access-control-allow-origin": "*",
}


def curl(server: LiveServer, path: str, *words: str) -> Spoken:
    flags = ["--no-buffer", "--silent", "--show-error", "--include", "--noproxy", "*", *words]
    return Spoken(["curl", *flags, f"{server.base_url}{path}"])


def head(stream: Spoken) -> dict[str, str]:
    """The status under "" and the headers, by lower-case name."""
    found = {"": stream.line()}
    while line := stream.line():
        name, _, value = line.partition(": ")
        found[name.lower()] = value
    return found


def event(stream: Spoken) -> dict[str, Any]:
    """The next event: its fields, the data read as JSON. Comments and lone ids are left out."""
    for _ in range(COMMENTS_MAX):
        fields: dict[str, Any] = {}
        while line := stream.line():
            name, _, value = line.partition(": ")
            fields[name] = value
        if "data" in fields:
            return fields | {"data": json.loads(fields["data"])}
    raise AssertionError(f"no event among {stream.heard}")


def index_of(server: LiveServer, key: str) -> int:
    return int(ask(server.port, "GET", f"/kv/{key}?metadata=true").json()["modify_index"])


def test_a_key_as_it_is_and_everything_after(server: LiveServer) -> None:
    put(server.port, "curl/one", "first")
    with curl(server, "/kv/watch/curl/one") as stream:
        answered = head(stream)
        assert answered[""].split()[1] == "200"
        assert answered | HEADERS == answered
        now = event(stream)
        assert now["event"] == "kv-change"
        assert now["id"] == str(now["data"]["modify_index"]) == str(index_of(server, "curl/one"))
        assert now["data"] == now["data"] | {"type": "set", "key": "curl/one", "value": "first"}
        assert "old_value" not in now["data"]

        put(server.port, "curl/another", "not watched")
        put(server.port, "curl/one", "second")
        changed = event(stream)["data"]
        assert {name: changed[name] for name in ("type", "key", "value", "old_value")} == {
            "type": "set",
            "key": "curl/one",
            "value": "second",
            "old_value": "first",
        }
        ask(server.port, "DELETE", "/kv/curl/one")
        gone = event(stream)["data"]
        assert (gone["type"], gone["old_value"], gone.get("value")) == ("delete", "second", None)
        assert gone["modify_index"] > changed["modify_index"]


def test_a_cut_stream_goes_on_where_it_was_cut(server: LiveServer) -> None:
    put(server.port, "cut/start", "here")
    with curl(
        server, "/kv/watch/cut/**", "--header", f"Last-Event-ID: {index_of(server, 'cut/start')}"
    ) as stream:
        head(stream)
        for number in range(5):
            put(server.port, f"cut/{number}", "before")
        seen = [event(stream) for _ in range(5)]
    for number in range(5, 10):
        put(server.port, f"cut/{number}", "while nobody looked")
    with curl(server, "/kv/watch/cut/**", "--header", f"Last-Event-ID: {seen[-1]['id']}") as stream:
        head(stream)
        put(server.port, "cut/10", "after")
        seen += [event(stream) for _ in range(6)]
    assert [one["data"]["key"] for one in seen] == [f"cut/{number}" for number in range(11)]
    assert [int(one["id"]) for one in seen] == sorted(one["data"]["modify_index"] for one in seen)


def test_a_quiet_stream_is_kept_alive(server: LiveServer) -> None:
    with curl(server, "/kv/watch/quiet/**") as stream:
        head(stream)
        stream.until(lambda line: line == ": keep-alive")


@pytest.mark.parametrize("since", ["", "?since=1"])
def test_after_a_kill_it_is_told_when_something_is_missing(server: LiveServer, since: str) -> None:
    put(server.port, "killed/one", "1")
    index = index_of(server, "killed/one")
    put(server.port, "killed/two", "2")
    server.restart()
    words = [] if since else ["--header", f"Last-Event-ID: {index}"]
    with curl(server, f"/kv/watch/killed/**{since}", *words) as stream:
        head(stream)
        put(server.port, "killed/three", "3")
        first = event(stream)
        if first["event"] == "compacted":
            # What the ring no longer has, the client is told to list again; from there on it is complete.
            assert first["data"]["type"] == "compacted"
            assert first["data"]["modify_index"] >= index_of(server, "killed/two")
            assert event(stream)["data"]["key"] == "killed/three"
        else:
            rest = [event(stream)["data"]["key"] for _ in range(1 if not since else 2)]
            assert [first["data"]["key"], *rest][-2:] == ["killed/two", "killed/three"]
