"""Event streams about keys: what is said, in which order, and where a reconnect goes on."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.ask import ask, put
from tests.conftest import SMALL, LiveServer
from tests.doors.streams import Block, Stream

HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache",
    "connection": "keep-alive",
    "x-accel-buffering": "no",
    "access-control-allow-origin": "*",
}


def index_of(port: int, key: str, value: str) -> int:
    return int(put(port, key, value).json()["modify_index"])


def now(server: LiveServer) -> int:
    return int(ask(server.port, "GET", "/kv?limit=1").headers["x-konsul-index"])


def set_many(port: int, items: dict[str, str]) -> None:
    assert ask(port, "POST", "/batch/kv/set", {"items": items}).status == 200


def keys_of(events: list[Block]) -> list[str]:
    return [event.data["key"] for event in events]


def test_an_event_is_written_byte_for_byte_as_the_contract_says(server: LiveServer, space: str) -> None:
    with Stream(server.port, f"/kv/watch/{space}/*") as stream:
        assert stream.status == 200
        assert {name: stream.headers.get(name) for name in HEADERS} == HEADERS
        first = index_of(server.port, f"{space}/cfg", "v0")
        second = index_of(server.port, f"{space}/cfg", "v1")
        ask(server.port, "DELETE", f"/kv/{space}/cfg")
        created, updated, deleted = stream.events(3)
    at = [event.data["timestamp"] for event in (created, updated, deleted)]
    key, old = f'"key":"{space}/cfg"', '"old_value":"v0"'
    assert created.raw.decode() == (
        f"id: {first}\nevent: kv-change\n"
        f'data: {{"type":"set",{key},"value":"v0","timestamp":{at[0]},"modify_index":{first}}}\n'
    )
    assert updated.raw.decode() == (
        f"id: {second}\nevent: kv-change\n"
        f'data: {{"type":"set",{key},"value":"v1",{old},"timestamp":{at[1]},"modify_index":{second}}}\n'
    )
    assert deleted.raw.decode() == (
        f"id: {second + 1}\nevent: kv-change\n"
        f'data: {{"type":"delete",{key},"old_value":"v1","timestamp":{at[2]},"modify_index":{second + 1}}}\n'
    )
    assert all(type(moment) is int for moment in at)


def test_a_page_of_another_site_may_read_a_stream_and_is_told_so_once(server: LiveServer, space: str) -> None:
    with Stream(server.port, f"/kv/watch/{space}", {"Origin": "https://ui.example"}) as stream:
        assert stream.all_of("access-control-allow-origin") == ["*"]
    with Stream(server.port, f"/kv/watch/{space}") as stream:
        assert stream.all_of("access-control-allow-origin") == ["*"]


def test_an_empty_value_is_left_out_and_bytes_come_as_base64(server: LiveServer, space: str) -> None:
    binary = b"\xff\x00"
    with Stream(server.port, f"/kv/watch/{space}/**") as stream:
        put(server.port, f"{space}/empty", "")
        ask(server.port, "PUT", f"/kv/{space}/bytes?raw", binary)
        ask(server.port, "DELETE", f"/kv/{space}/bytes")
        empty, written, deleted = (event.data for event in stream.events(3))
    encoded = base64.b64encode(binary).decode()
    assert "value" not in empty
    assert (written["value"], written["encoding"]) == (encoded, "base64")
    assert (deleted["old_value"], deleted["old_value_encoding"]) == (encoded, "base64")


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("x", ["x"]),
        ("*", ["x", "xy"]),
        ("x*", ["x", "xy"]),
        ("?", ["x"]),
        ("[w-y]", ["x"]),
        ("a/*", ["a/x"]),
        ("*/db", ["b/db"]),
        ("a/**", ["a/x", "a/b/db", "a/b/c/db"]),
        ("a/**/db", ["a/b/db", "a/b/c/db"]),
        ("**", ["x", "xy", "a/x", "b/db", "a/b/db", "a/b/c/db"]),
    ],
)
def test_a_pattern_tells_what_it_matches(
    server: LiveServer, space: str, pattern: str, told: list[str]
) -> None:
    with Stream(server.port, f"/kv/watch/{space}/{quote(pattern)}") as stream:
        stream.comment()
        for key in ("x", "xy", "a/x", "b/db", "a/b/db", "a/b/c/db"):
            put(server.port, f"{space}/{key}", "1")
        heard = keys_of(stream.events(len(told)))
        # The only way to see that nothing else was told: the next thing that is.
        name = told[0]
        put(server.port, f"{space}/{name}", "last")
        assert stream.event().data["value"] == "last"
    assert heard == [f"{space}/{key}" for key in told]


def test_the_pattern_may_be_escaped_once_or_twice_or_stand_in_the_query(
    server: LiveServer, space: str
) -> None:
    for path in (
        f"/kv/watch/{space}%2F%2A%2A",
        f"/kv/watch/{space}%252F%252A%252A",
        f"/kv/watch?key={space}%2F**",
        f"/v1/kv/watch/{space}/**",
    ):
        with Stream(server.port, path) as stream:
            stream.comment()
            put(server.port, f"{space}/a/b", path)
            assert stream.event().data["value"] == path


def test_without_a_pattern_it_is_the_keys_without_a_slash(server: LiveServer, space: str) -> None:
    with Stream(server.port, "/kv/watch") as stream:
        stream.comment()
        put(server.port, f"{space}/below", "1")
        put(server.port, space, "1")
        assert stream.event().data["key"] == space


def test_an_exact_key_is_told_first_with_its_value(server: LiveServer, space: str) -> None:
    index = index_of(server.port, space, "there")
    with Stream(server.port, f"/kv/watch/{space}") as stream:
        first = stream.event()
        at, key = first.data["timestamp"], f'"key":"{space}"'
        assert first.raw.decode() == (
            f"id: {index}\nevent: kv-change\n"
            f'data: {{"type":"set",{key},"value":"there","timestamp":{at},"modify_index":{index}}}\n'
        )
        put(server.port, space, "changed")
        assert stream.event().data["old_value"] == "there"
    with Stream(server.port, f"/kv/watch/{space}?since={index}") as stream:
        assert stream.event().data["value"] == "changed", "with since there is no first value"
    with Stream(server.port, f"/kv/watch/{space}*") as stream:
        assert stream.block().event is None, "a pattern has no value"  # type: ignore[union-attr]


def test_who_comes_back_after_a_value_that_is_old_has_missed_nothing(tmp_path: Path) -> None:
    with LiveServer(tmp_path / "data", SMALL | {"KONSUL_WATCH_RING_ENTRIES": "10"}) as server:
        put(server.port, "old", "v")
        for number in range(30):
            put(server.port, f"other/{number}", "v")
        with Stream(server.port, "/kv/watch/old") as stream:
            assert stream.event().data["value"] == "v"
            assert stream.block() == Block(b": watching\nid: %d\n" % now(server))
            last = stream.last_id
        put(server.port, "old", "new")
        with Stream(server.port, "/kv/watch/old", {"Last-Event-ID": str(last)}) as stream:
            assert stream.event().data["value"] == "new", "neither told again nor said to be lost"


def test_a_value_in_bytes_is_told_first_too(server: LiveServer, space: str) -> None:
    ask(server.port, "PUT", f"/kv/{space}?raw", b"\xfe")
    with Stream(server.port, f"/kv/watch/{space}") as stream:
        data = stream.event().data
    assert (data["value"], data["encoding"]) == (base64.b64encode(b"\xfe").decode(), "base64")


def test_since_and_last_event_id_go_on_behind_an_index(server: LiveServer, space: str) -> None:
    indices = [index_of(server.port, f"{space}/k{number}", "v") for number in range(4)]
    with Stream(server.port, f"/kv/watch/{space}/*?since={indices[0]}") as stream:
        assert [event.id for event in stream.events(3)] == indices[1:]
    headers = {"Last-Event-ID": str(indices[2])}
    with Stream(server.port, f"/kv/watch/{space}/*?since={indices[0]}", headers) as stream:
        assert [event.id for event in stream.events(1)] == indices[3:], "the header is newer than the address"
    with Stream(server.port, f"/kv/watch/{space}/*?since={indices[3] + 1_000_000}") as stream:
        stream.comment()
        put(server.port, f"{space}/later", "v")
        with Stream(server.port, f"/kv/watch/{space}/*?since={indices[3]}") as other:
            assert keys_of(other.events(1)) == [f"{space}/later"]
        # What is newer than any index here is waited for: nothing was said to it meanwhile.
        ask(server.port, "PUT", "/kv/elsewhere", {"value": "1"})


def test_changes_of_one_entry_share_an_index_and_a_cut_between_them_loses_none(
    server: LiveServer, space: str
) -> None:
    items = {f"{space}/{number:03}": "v" for number in range(300)}
    with Stream(server.port, f"/kv/watch/{space}/*") as stream:
        stream.comment()
        set_many(server.port, items)
        events = stream.events(300)
    index = events[0].data["modify_index"]
    assert {event.data["modify_index"] for event in events} == {index}
    assert keys_of(events) == sorted(items)
    assert [event.id for event in events] == [index - 1] * 299 + [index]
    # An EventSource that was cut after any but the last comes back with the index before the entry.
    with Stream(server.port, f"/kv/watch/{space}/*", {"Last-Event-ID": str(events[120].id)}) as stream:
        assert keys_of(stream.events(300)) == sorted(items)


def test_an_expired_key_is_told_as_deleted(server: LiveServer, space: str) -> None:
    with Stream(server.port, f"/kv/watch/{space}") as stream:
        ask(server.port, "PUT", f"/kv/{space}", {"value": "v", "ttl": "20ms"})
        assert [event.data["type"] for event in stream.events(2)] == ["set", "delete"]


def test_every_way_of_writing_is_told(server: LiveServer, space: str) -> None:
    with Stream(server.port, f"/kv/watch/{space}/*") as stream:
        stream.comment()
        put(server.port, f"{space}/one", "1")
        set_many(server.port, {f"{space}/many": "1"})
        operations = [{"type": "set", "key": f"{space}/all", "value": "1"}]
        ask(server.port, "POST", "/transaction", {"operations": operations})
        ask(server.port, "PUT", f"/kv/{space}/cas", {"value": "1", "cas": 0})
        ask(server.port, "DELETE", f"/kv?prefix={space}/&recurse")
        told = [(event.data["type"], event.data["key"]) for event in stream.events(8)]
    names = ["one", "many", "all", "cas"]
    assert told[:4] == [("set", f"{space}/{name}") for name in names]
    assert told[4:] == [("delete", f"{space}/{name}") for name in sorted(names)]


def test_coalesced_changes_end_with_the_newest(server: LiveServer, space: str) -> None:
    with Stream(server.port, f"/kv/watch/{space}/*?coalesce=true") as stream:
        stream.comment()
        last = 0
        for number in range(50):
            last = index_of(server.port, f"{space}/k", str(number))
        event = stream.event()
        while event.data["modify_index"] != last:
            event = stream.event()
        assert event.data["value"] == "49"


def test_silence_has_a_bookmark_to_come_back_to(tmp_path: Path) -> None:
    settings = SMALL | {"KONSUL_WATCH_HEARTBEAT_INTERVAL": "100ms"}
    with LiveServer(tmp_path / "data", settings) as server:
        with Stream(server.port, "/kv/watch/quiet/*") as stream:
            assert stream.block() == Block(b": watching\nid: %d\n" % now(server))
            put(server.port, "loud/a", "1")
            beat = stream.block()
            while beat is not None and beat.id != now(server):
                beat = stream.block()
            assert beat == Block(b": keep-alive\nid: %d\n" % now(server))
            came = index_of(server.port, "quiet/a", "1")
            assert stream.event().id == came
            put(server.port, "loud/a", "2")
            last = stream.last_id
        put(server.port, "quiet/b", "1")
        with Stream(server.port, "/kv/watch/quiet/*", {"Last-Event-ID": str(last)}) as stream:
            assert keys_of(stream.events(1)) == ["quiet/b"]


def test_after_a_kill_a_reconnect_is_told_what_it_missed_or_to_list_again(tmp_path: Path) -> None:
    with LiveServer(tmp_path / "data", SMALL) as server:
        with Stream(server.port, "/kv/watch/a/*") as stream:
            for number in range(10):
                put(server.port, f"a/{number}", "v")
            assert len(stream.events(10)) == 10
            last = stream.last_id
        put(server.port, "a/missed", "v")
        server.restart()
        later = index_of(server.port, "a/later", "v")
        with Stream(server.port, "/kv/watch/a/*", {"Last-Event-ID": str(last)}) as stream:
            first = stream.event()
            after = index_of(server.port, "a/after", "v")
            told = [first]
            while told[-1].id != after:
                told.append(stream.event())
        if first.event != "compacted":
            assert keys_of(told) == ["a/missed", "a/later", "a/after"]
            return
        index = first.data["modify_index"]
        assert first.raw.decode() == (
            f'id: {index}\nevent: compacted\ndata: {{"type":"compacted","modify_index":{index},'
            '"message":"changes up to this index may be missing here: list again, then go on from it"}\n'
        )
        listing = ask(server.port, "GET", "/kv/a/?recurse").json()
        assert "a/missed" in {row["key"] for row in listing if row["modify_index"] <= index}
        assert [event.id for event in told[1:]] == [at for at in (later, after) if at > index]


def test_the_ring_ends_somewhere_and_says_so(tmp_path: Path) -> None:
    with LiveServer(tmp_path / "data", SMALL | {"KONSUL_WATCH_RING_ENTRIES": "10"}) as server:
        first = index_of(server.port, "a/0", "v")
        for number in range(1, 30):
            put(server.port, f"a/{number}", "v")
        with Stream(server.port, f"/kv/watch/a/*?since={first}") as stream:
            notice = stream.event()
            assert notice.event == "compacted"
            goes_on = notice.data["modify_index"]
            assert notice.id == goes_on >= first
            rest = stream.events(first + 29 - goes_on)
            assert [event.id for event in rest] == list(range(goes_on + 1, first + 30))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/kv/watch/a?since=-1", "Invalid since parameter"),
        ("/kv/watch/a?since=x", "Invalid since parameter"),
        ("/kv/watch/a?since=1e3", "Invalid since parameter"),
        ("/kv/watch/a?since=18446744073709551616", "Invalid since parameter"),
        ("/kv/watch/a?coalesce=perhaps", "Invalid coalesce parameter"),
        ("/kv/watch/a?progress=2", "Invalid progress parameter"),
        ("/kv/watch/" + "a" * 1_025, "pattern too long: 1025 bytes (max 1024)"),
        ("/kv/watch/a%00b", "must not contain NUL"),
        ("/kv/watch/%252F%25FF", "not percent-encoded UTF-8"),
        ("/kv/watch?key=" + "a" * 1_025, "pattern too long"),
        ("/services/watch?service=a%20b", "Invalid service parameter"),
        ("/services/watch?tag=" + "t" * 900, "Invalid tag parameter"),
        ("/services/watch?" + "&".join(["tag=t"] * 33), "too many filters"),
        ("/services/watch?heartbeats=maybe", "Invalid heartbeats parameter"),
        ("/health/watch?since=1", "since has no meaning here"),
        ("/ws/updates", "is a WebSocket"),
    ],
)
def test_what_cannot_be_understood_is_refused_in_words(server: LiveServer, path: str, words: str) -> None:
    answer = ask(server.port, "GET", path)
    assert answer.status == 400
    assert words in answer.json()["message"]
    assert answer.json()["error"] == "Bad Request"


def test_a_last_event_id_must_be_one(server: LiveServer) -> None:
    answer = ask(server.port, "GET", "/kv/watch/a", headers={"Last-Event-ID": "abc"})
    assert (answer.status, answer.json()["message"].split(":")[0]) == (400, "Invalid Last-Event-ID header")


def test_only_a_get_is_the_watch_and_a_key_may_be_called_like_it(server: LiveServer, space: str) -> None:
    key = f"watch/{space}"
    assert put(server.port, key, "a key").status == 200
    head = ask(server.port, "HEAD", f"/kv/{key}")
    assert (head.status, head.headers["content-type"]) == (200, "application/json")
    assert ask(server.port, "POST", "/batch/kv/get", {"keys": [key]}).json()["found"] == {key: "a key"}
    with Stream(server.port, f"/kv/watch/{key}") as stream:
        assert stream.event().data["value"] == "a key"
    other = f"WATCH/{space}"
    put(server.port, other, "another key")
    assert ask(server.port, "GET", f"/kv/{other}").json() == {"key": other, "value": "another key"}
    assert ask(server.port, "DELETE", f"/kv/{key}").status == 200


@pytest.mark.parametrize("path", ["/health/watch", "/cluster/watch", "/ws/updates"])
def test_a_stream_has_no_head_and_takes_nothing(server: LiveServer, path: str) -> None:
    for method in ("HEAD", "PUT", "POST", "DELETE"):
        answer = ask(server.port, method, path)
        assert (answer.status, answer.headers["allow"]) == (405, "GET"), method


def test_the_token_in_the_query_is_not_logged(server: LiveServer, space: str) -> None:
    with Stream(server.port, f"/kv/watch/{space}?token=s3cret-{space}") as stream:
        stream.comment()
    ask(server.port, "GET", f"/kv/watch/{space}?token=s3cret-{space}&since=x")
    put(server.port, space, "1")
    assert f"s3cret-{space}" not in server.output()


def test_a_document_says_what_is_sent(server: LiveServer) -> None:
    document = json.loads(ask(server.port, "GET", "/openapi.json").body)
    for path in ("/kv/watch", "/kv/watch/{pattern}", "/services/watch", "/cluster/watch", "/health/watch"):
        answers = document["paths"][path]["get"]["responses"]["200"]
        assert list(answers["content"]) == ["text/event-stream"], path
