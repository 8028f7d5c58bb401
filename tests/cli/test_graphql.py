"""`konsulctl graphql`: documents, variables, answers, errors and subscriptions."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from konsul.client import Client
from tests.child import line_with
from tests.cli.console import Console
from tests.cli.test_watch import END_S, running
from tests.client.played_streams import CUT, HEAR, Event, Streams
from tests.conftest import LiveServer
from tests.process import free_port

ACK = {"type": "connection_ack"}
DONE = {"type": "complete", "id": "1"}
REFUSED = {"message": "no\nsuch field", "path": ["kv", 0], "extensions": {"code": "INVALID_INPUT"}}


def answered(console: Console, answer: Any, *args: str, stdin: bytes = b"") -> tuple[Any, Any]:
    """What a command line said, and the body that the server got."""
    with Streams([CUT], listing=answer) as server:
        seen = console("graphql", *args, "--server", server.base_url, stdin=stdin)
        body = json.loads(server.calls[0].body) if server.calls else None
    return seen, body


def test_the_data_is_printed(console: Console) -> None:
    answer = {"data": {"kv": {"value": "grün"}}, "extensions": {"cost": 1}}
    seen, body = answered(console, answer, "{ kv { value } }")
    assert (seen.code, seen.errors) == (0, "")
    assert seen.json() == answer["data"]
    assert "grün" in seen.text
    assert body == {"query": "{ kv { value } }"}


def test_json_is_the_whole_answer(console: Console) -> None:
    answer = {"data": None, "errors": [REFUSED], "extensions": {"cost": 1}}
    seen, _ = answered(console, answer, "{ x }", "--output", "json")
    assert (seen.code, seen.json()) == (1, answer)


def test_yaml_is_the_data(console: Console) -> None:
    seen, _ = answered(console, {"data": {"a": [1, 2]}}, "{ a }", "--output", "yaml")
    assert seen.text == "a:\n- 1\n- 2\n"


def test_errors_are_told_and_fail(console: Console) -> None:
    seen, _ = answered(console, {"data": {"a": None}, "errors": [REFUSED, {"message": "b"}]}, "{ a }")
    assert (seen.code, seen.json()) == (1, {"a": None})
    assert seen.errors == "Error: no\\nsuch field (at kv.0, INVALID_INPUT)\nError: b\n"


def test_documents_and_variables_from_everywhere(console: Console, tmp_path: Path) -> None:
    document, variables = tmp_path / "q.graphql", tmp_path / "v.json"
    document.write_text("query A { a } mutation B { b }")
    variables.write_text('{"key": "ü"}')
    expected = {"query": "query A { a } mutation B { b }", "variables": {"key": "ü"}, "operationName": "B"}
    for args, stdin in (
        (["--file", str(document)], b""),
        ([f"@{document}"], b""),
        (["-"], document.read_bytes()),
    ):
        for given in ('{"key": "ü"}', f"@{variables}"):
            seen, body = answered(
                console, {"data": {}}, *args, "--variables", given, "--operation", "B", stdin=stdin
            )
            assert (seen.code, body) == (0, expected)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "give the document"),
        (["{ a }", "--file", "x"], "give the document"),
        (["  "], "the document is empty"),
        (["--file", "absent"], "cannot read absent"),
        (["{ a }", "--variables", "[1]"], "not a JSON object"),
        (["{ a }", "--variables", "{"], "not JSON"),
        (["{ a }", "--variables", "@absent"], "cannot read absent"),
        (["{ a }", "--transport", "pigeon"], "not one of websocket, sse"),
    ],
)
def test_what_cannot_be_run(console: Console, args: list[str], words: str) -> None:
    seen, body = answered(console, {"data": {}}, *args)
    assert (seen.code, body) == (2, None)
    assert words in seen.errors


def test_a_document_that_is_no_text(console: Console) -> None:
    seen, _ = answered(console, {"data": {}}, "-", stdin=b"\xff")
    assert seen.code == 2


def test_nobody_there(console: Console) -> None:
    where = ("--server", f"127.0.0.1:{free_port()}", "--timeout", "1s")
    assert console("graphql", "{ a }", *where).code == 5
    assert console("graphql", "subscription { a }", *where).code == 5


@pytest.mark.parametrize("way", ["websocket", "sse"])
def test_a_subscription_is_a_line_each(console: Console, way: str) -> None:
    answers: list[dict[str, Any]] = [
        {"data": {"n": 1}},
        {"data": {"n": 2}},
        {"data": None, "errors": [{"message": "late"}]},
    ]
    turn: list[Any]
    if way == "sse":
        turn = [*(Event("next", one) for one in answers), Event("complete")]
    else:
        turn = [HEAR, ACK, HEAR, *({"type": "next", "id": "1", "payload": one} for one in answers), DONE]
    with Streams(turn) as server:
        where = ("--server", server.base_url, "--transport", way)
        seen = console("graphql", "subscription { n }", *where)
        assert (seen.code, seen.text, seen.errors) == (1, '{"n": 1}\n{"n": 2}\n', "Error: late\n")
        seen = console("graphql", "subscription { n }", *where, "--output", "json")
        assert [json.loads(line) for line in seen.text.splitlines()] == answers[:2]


def test_against_a_real_server(ctl: Console, server: LiveServer) -> None:
    with Client(server.base_url) as client:
        client.kv.set("graph/a", "1")
    query = "query Q($key: String!) { kv(key: $key) { value } }"
    seen = ctl.ok("graphql", query, "--variables", '{"key": "graph/a"}')
    assert seen.json() == {"kv": {"value": "1"}}
    assert ctl.ok("graphql", 'mutation { kvSet(key: "graph/a", value: "2") { value } }').json() == {
        "kvSet": {"value": "2"}
    }
    refused = ctl("graphql", "{ nothing }")
    assert (refused.code, refused.errors.startswith("Error: ")) == (1, True)
    syntax = ctl("graphql", "{ kv(", "--output", "json")
    assert (syntax.code, syntax.json()["errors"][0]["extensions"]["code"]) == (1, "GRAPHQL_PARSE_FAILED")


@pytest.mark.parametrize("way", ["websocket", "sse"])
def test_a_real_subscription_until_ctrl_c(server: LiveServer, tmp_path: Path, way: str) -> None:
    with Client(server.base_url) as client:
        since = client.kv.set("sub/before", "0").modify_index
        # With an index nothing depends on when the subscription begins.
        query = f'subscription {{ kvChanged(prefix: "sub/", since: {since}) {{ type key value }} }}'
        with running(tmp_path, "graphql", query, "--server", server.base_url, "--transport", way) as process:
            client.kv.set("sub/a", "1")
            told = json.loads(line_with(process, "sub/a"))
            assert told == {"kvChanged": {"type": "SET", "key": "sub/a", "value": "1"}}
            process.send_signal(signal.SIGINT)
            assert process.wait(END_S) == 0
