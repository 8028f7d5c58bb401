"""`konsulctl kv watch` and `service watch`: what they print, before a played server and a real one."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from konsul.client import Client, Service
from tests.child import line_with, staying
from tests.cli.console import Console
from tests.client.played_streams import CUT, Farewell, Streams
from tests.conftest import LiveServer
from tests.process import free_port

WAYS = pytest.mark.parametrize("way", ["websocket", "sse"])
AT = 1_767_323_045
STAMP = time.strftime("[%Y-%m-%d %H:%M:%S]", time.localtime(AT))
ANY_STAMP = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\]")
END_S = 60.0


def said(kind: str, key: str, index: int, **more: Any) -> dict[str, Any]:
    return {"type": kind, "key": key, "timestamp": AT, "modify_index": index, **more}


STORY = [
    said("set", "cfg/a", 11, value="v0"),
    said("set", "cfg/a", 12, value="v1", old_value="v0"),
    said("set", "cfg/b", 13),
    said("set", "cfg/c", 14, value="AP8=", encoding="base64"),
    said("set", "cfg/d\x1b[2J", 15, value="two\nlines", old_value="tab\t"),
    said("delete", "cfg/a", 16, old_value="v1"),
    said("delete", "cfg/b", 17),
]


def shown(ctl: Console, server: Streams, *args: str) -> Any:
    return ctl(*args, "--server", server.base_url, "--no-reconnect")


@WAYS
def test_the_lines_of_keys(console: Console, way: str) -> None:
    with Streams([*STORY, Farewell(1001)] if way == "websocket" else [*STORY, CUT]) as server:
        seen = shown(console, server, "kv", "watch", "cfg/*", "--transport", way)
    assert seen.text.splitlines() == [
        f"Watching cfg/* ({'WebSocket' if way == 'websocket' else 'SSE'})...",
        "Press Ctrl+C to stop",
        "",
        f"{STAMP} CREATE cfg/a: v0",
        f"{STAMP} UPDATE cfg/a: v0 -> v1",
        f"{STAMP} CREATE cfg/b: ",
        f"{STAMP} CREATE cfg/c: AP8=",
        f"{STAMP} UPDATE cfg/d\\x1b[2J: tab\\t -> two\\nlines",
        f"{STAMP} DELETE cfg/a (was: v1)",
        f"{STAMP} DELETE cfg/b (was: )",
        "Connection closed by server",
    ]
    assert (seen.code, seen.errors.startswith("Error watching keys: ")) == (5, True)


def test_a_websocket_is_the_way_unless_told_otherwise(console: Console) -> None:
    with Streams([CUT]) as server:
        shown(console, server, "kv", "watch", "**")
        assert server.streams[0].headers["upgrade"] == "websocket"


def test_json_is_a_line_each_and_nothing_else(console: Console) -> None:
    with Streams([*STORY, CUT]) as server:
        seen = shown(console, server, "kv", "watch", "cfg/*", "--output", "json")
    lines = [json.loads(line) for line in seen.text.splitlines()]
    assert lines == [
        {"value": "", **one} if one["key"] == "cfg/b" and one["type"] == "set" else one for one in STORY
    ]


def test_yaml_is_a_document_each(console: Console) -> None:
    import yaml

    with Streams([*STORY[:2], CUT]) as server:
        seen = shown(console, server, "kv", "watch", "cfg/*", "--output", "yaml")
    assert [one for one in yaml.safe_load_all(seen.text) if one] == STORY[:2]


def test_quiet_is_the_changes_alone(console: Console) -> None:
    with Streams([STORY[0], CUT]) as server:
        seen = shown(console, server, "kv", "watch", "cfg/*", "--quiet")
    assert seen.text == f"{STAMP} CREATE cfg/a: v0\n"


def test_a_key_that_is_there_is_told_first(console: Console) -> None:
    rows = [{"key": "cfg/a", "value": "v0", "modify_index": 3}]
    with Streams([STORY[1], CUT], listing=rows) as server:
        seen = shown(console, server, "kv", "watch", "cfg/a")
        since = shown(console, server, "kv", "watch", "cfg/a", "--since", "5")
        initial = shown(console, server, "kv", "watch", "cfg/**", "--initial", "--output", "json")
    assert ANY_STAMP.sub("", seen.text).splitlines()[3:5] == [" CREATE cfg/a: v0", " UPDATE cfg/a: v0 -> v1"]
    assert ANY_STAMP.sub("", since.text).splitlines()[3:4] == [" UPDATE cfg/a: v0 -> v1"]
    assert "since=5" in server.streams[1].line
    first = json.loads(initial.text.splitlines()[0])
    assert first == {"type": "current", "key": "cfg/a", "value": "v0", "modify_index": 3}


def test_a_gap_is_told_and_listed(console: Console) -> None:
    compacted = {"type": "compacted", "modify_index": 50, "message": "list again"}
    rows = [{"key": "cfg/a", "value": "v5", "modify_index": 40}]
    behind = {"type": "behind", "resume_index": 11}
    with Streams([behind, compacted, CUT], index=60, listing=rows) as server:
        seen = shown(console, server, "kv", "watch", "cfg/*")
        document = shown(console, server, "kv", "watch", "cfg/*", "--output", "json")
    assert ANY_STAMP.sub("", seen.text).splitlines()[3:5] == [
        " RELISTED at index 60: 1 keys match",
        " CURRENT cfg/a: v5",
    ]
    assert "the server keeps them meanwhile" in seen.errors
    assert "no longer knows every change up to index 50" in seen.errors
    assert [json.loads(line)["type"] for line in document.text.splitlines()] == ["relisted", "current"]


def test_the_lines_of_services(console: Console) -> None:
    web = {"name": "web", "address": "10.0.0.1", "port": 80}
    two = {**web, "id": "web-2"}
    events = [
        {"type": kind, "service": one, "timestamp": AT, "modify_index": index}
        for kind, one, index in (
            ("register", web, 11),
            ("heartbeat", two, 11),
            ("deregister", web, 12),
            ("expired", two, 13),
        )
    ]
    args = ("service", "watch", "web", "--tag", "v2", "--heartbeats")
    with Streams([*events, CUT], listing=[{**web, "tags": ["v2"]}]) as server:
        seen = shown(console, server, *args, "--initial")
        document = shown(console, server, *args, "--output", "json")
    assert seen.text.splitlines()[0] == "Watching web (WebSocket)..."
    assert ANY_STAMP.sub("", seen.text).splitlines()[3:-1] == [
        " CURRENT web - 10.0.0.1:80",
        " REGISTER web - 10.0.0.1:80",
        " HEARTBEAT web (web-2) - 10.0.0.1:80",
        " DEREGISTER web - 10.0.0.1:80",
        " EXPIRED web (web-2) - 10.0.0.1:80",
    ]
    assert [json.loads(line) for line in document.text.splitlines()] == events
    assert "service=web&tag=v2&heartbeats=true" in server.streams[0].line


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["kv", "watch"], 2),
        (["kv", "watch", ""], 2),
        (["kv", "watch", "a", "--transport", "pigeon"], 2),
        (["kv", "watch", "a", "--since", "x"], 2),
        (["kv", "watch", "a", "--since", "3", "--initial"], 2),
        (["kv", "watch", "a", "--since", "3", "--server", f"127.0.0.1:{free_port()}", "--no-reconnect"], 5),
    ],
)
def test_what_cannot_be_watched(console: Console, args: list[str], code: int) -> None:
    seen = console(*args)
    assert seen.code == code
    assert seen.errors
    assert "closed by server" not in seen.text


def running(home: Path, *args: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """konsulctl as a process of its own."""
    return staying([Path(sys.executable).with_name("konsulctl"), *args], {"HOME": str(home)})


@WAYS
def test_changes_of_a_real_server_until_ctrl_c(server: LiveServer, tmp_path: Path, way: str) -> None:
    key = f"real/{way}"
    with Client(server.base_url) as client:
        client.kv.set(key, "v0")
        with running(
            tmp_path, "kv", "watch", key, "--server", server.base_url, "--transport", way
        ) as process:
            assert ANY_STAMP.sub("", line_with(process, "CREATE")) == f" CREATE {key}: v0\n"
            client.kv.set(key, "v1")
            assert ANY_STAMP.sub("", line_with(process, "UPDATE")) == f" UPDATE {key}: v0 -> v1\n"
            client.kv.delete(key)
            assert ANY_STAMP.sub("", line_with(process, "DELETE")) == f" DELETE {key} (was: v1)\n"
            process.send_signal(signal.SIGINT)
            assert line_with(process, "Stop") == "Stopping watch...\n"
            assert process.wait(END_S) == 0


def test_a_restart_of_the_server_is_outlived(server: LiveServer, tmp_path: Path) -> None:
    args = ("kv", "watch", "again/*", "--initial", "--server", server.base_url, "--output", "json")
    with Client(server.base_url) as client:
        client.kv.set("again/a", "1")
        with running(tmp_path, *args) as process:
            assert json.loads(line_with(process, "again/a"))["type"] == "current"
            server.restart()
            written = client.kv.set("again/b", "2").modify_index
            told = json.loads(line_with(process, "again/b"))
            assert (told["value"], told["modify_index"]) == ("2", written)
            process.send_signal(signal.SIGINT)
            assert process.wait(END_S) == 0
            assert process.stderr is not None
            warnings = [line for line in process.stderr.read().splitlines() if "trying again" in line]
            assert warnings
            assert len(warnings) == len(set(warnings)), "each reason is told once"
            assert not any("a write" in line for line in warnings), "a watch writes nothing"


def test_services_of_a_real_server(server: LiveServer, tmp_path: Path) -> None:
    args = ("service", "watch", "--server", server.base_url, "--heartbeats", "--initial")
    with Client(server.base_url) as client:
        client.services.register(Service("here", "10.0.0.1", 80))
        with running(tmp_path, *args) as process:
            line_with(process, "CURRENT here - 10.0.0.1:80")
            client.services.register(Service("comes", "10.0.0.2", 80, "c1"))
            line_with(process, "REGISTER comes (c1) - 10.0.0.2:80")
            client.services.heartbeat("comes", instance="c1")
            line_with(process, "HEARTBEAT comes (c1)")
            client.services.deregister("comes", instance="c1")
            line_with(process, "DEREGISTER comes (c1)")
