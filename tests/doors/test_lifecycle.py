"""The server process: how it starts, what it says when it cannot, how it stops."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from konsul.kernel.config import declarations
from konsul.kernel.settings import GROUPS
from konsul.server.arguments import parse, reference
from tests.ask import ask, put, value_of
from tests.conftest import SMALL, LiveServer
from tests.waiting import until


@pytest.fixture
def own(fresh_dir: Path) -> Iterator[LiveServer]:
    """A server of the test's own, not started yet."""
    made = LiveServer(fresh_dir, SMALL)
    try:
        yield made
    finally:
        made.kill()


def lines(server: LiveServer) -> list[dict[str, Any]]:
    """The log, as far as it is complete."""
    return [json.loads(line) for line in server.output().split("\n")[:-1] if line.startswith("{")]


def said(server: LiveServer, message: str) -> list[dict[str, Any]]:
    return [line for line in lines(server) if line["msg"] == message]


def refused_start(server: LiveServer) -> str:
    """Starts a server that must not come up; returns what it said."""
    server.launch()
    try:
        assert server.exit_status() == 1
    finally:
        server.kill()
    return server.output()


def test_a_ready_line_names_the_address(own: LiveServer) -> None:
    own.start()
    until(lambda: said(own, "ready"), "the ready line")
    [ready] = said(own, "ready")
    assert ready["address"] == own.base_url
    assert ready["pid"] == own.pid
    assert ready["level"] == "info"
    assert ready["ts"].endswith("Z")
    [starting] = said(own, "starting")
    assert starting["persistence_enabled"] is True


def test_a_graceful_stop_exits_with_zero_and_keeps_everything(own: LiveServer) -> None:
    own.start()
    put(own.port, "kept", "1")
    assert own.stop() == 0
    assert said(own, "stopped")
    own.start()
    assert value_of(own.port, "kept") == "1"


def test_a_signal_takes_a_snapshot_and_says_when_there_is_nothing_new(own: LiveServer) -> None:
    own.start()
    put(own.port, "kept", "1")
    os.kill(own.pid, signal.SIGUSR1)
    until(lambda: said(own, "snapshot taken"), "the snapshot")
    assert said(own, "snapshot taken")[0]["index"] == 1
    assert len(list((own.data_dir / "snapshots").glob("*.snapshot"))) == 1
    os.kill(own.pid, signal.SIGUSR1)
    until(lambda: said(own, "no snapshot taken"), "the refusal")
    assert "nothing new" in said(own, "no snapshot taken")[0]["error"]
    assert own.stop() == 0


def test_an_acknowledged_write_survives_a_kill(own: LiveServer) -> None:
    own.start()
    put(own.port, "kept", "1")
    own.restart()
    assert value_of(own.port, "kept") == "1"


def test_a_stop_lets_requests_in_flight_finish_and_refuses_new_ones(own: LiveServer) -> None:
    own.start()
    body = b'{"value":"late"}'
    head = b"PUT /kv/late HTTP/1.1\r\nHost: k\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", own.port), timeout=30) as connection:
        connection.sendall(head % len(body) + body[:5])
        until(lambda: in_flight(own) >= 2, "the request to be in flight")
        os.kill(own.pid, signal.SIGTERM)
        until(lambda: said(own, "stopping"), "the server to begin to stop")
        connection.sendall(body[5:])
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    assert own.exit_status() == 0
    own.start()
    assert value_of(own.port, "late") == "late"


def in_flight(server: LiveServer) -> float:
    page = ask(server.port, "GET", "/metrics").body.decode()
    [line] = [line for line in page.split("\n") if line.startswith("konsul_http_requests_in_flight ")]
    return float(line.split()[1])


def test_a_request_that_outlasts_the_grace_is_cut_off(own: LiveServer) -> None:
    own.settings |= {"KONSUL_STOP_GRACE": "1ms"}
    own.start()
    with socket.create_connection(("127.0.0.1", own.port), timeout=30) as connection:
        connection.sendall(b"PUT /kv/x HTTP/1.1\r\nHost: k\r\nContent-Length: 9\r\n\r\n")
        until(lambda: in_flight(own) >= 2, "the request to be in flight")
        assert own.stop() == 0
    assert [line["count"] for line in said(own, "requests cut off")] == [1]


def test_a_taken_port_is_a_clear_error_before_the_data_is_touched(own: LiveServer) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", own.port))
        taken.listen()
        output = refused_start(own)
    assert f"cannot listen on 127.0.0.1 port {own.port}" in output
    assert "KONSUL_PORT" in output
    assert not own.data_dir.exists()


def test_a_second_server_on_the_same_port_is_refused(own: LiveServer, tmp_path: Path) -> None:
    own.start()
    second = LiveServer(tmp_path / "second", SMALL)
    second.port = own.port
    assert "cannot listen" in refused_start(second)
    assert ask(own.port, "GET", "/health/live").status == 200


def test_a_second_server_on_the_same_data_is_refused(own: LiveServer) -> None:
    own.start()
    second = LiveServer(own.data_dir, SMALL)
    assert "start failed" in refused_start(second)
    assert ask(own.port, "GET", "/health/ready").status == 200


def test_a_bad_configuration_says_what_and_exits_with_one(own: LiveServer) -> None:
    own.settings |= {"KONSUL_SERVICE_TTL": "30"}
    output = refused_start(own)
    assert output.startswith(
        "Failed to load configuration: invalid configuration: KONSUL_SERVICE_TTL is '30' "
    )
    assert not own.data_dir.exists()


def test_variables_of_later_features_are_accepted_with_a_notice(own: LiveServer) -> None:
    own.settings |= {
        "KONSUL_TRACING_ENABLED": "true",
        "KONSUL_PERSISTENCE_TYPE": "badger",
    }
    own.start()
    messages = {line["msg"] for line in lines(own)}
    assert "KONSUL_TRACING_ENABLED is not used yet" in messages
    assert "KONSUL_PERSISTENCE_TYPE badger is the old name of durable" in messages


def test_memory_mode_leaves_nothing_behind(own: LiveServer) -> None:
    own.settings |= {"KONSUL_PERSISTENCE_TYPE": "memory"}
    own.start()
    put(own.port, "gone", "1")
    own.restart()
    assert value_of(own.port, "gone") is None


def test_access_lines_carry_the_request(own: LiveServer) -> None:
    own.start()
    ask(own.port, "GET", "/kv/absent?metadata=true")
    until(lambda: access(own, "/kv/absent"), "the access line")
    [line] = access(own, "/kv/absent")
    assert (line["msg"], line["level"], line["method"], line["status"]) == (
        "Request completed",
        "warn",
        "GET",
        404,
    )
    assert line.keys() >= {"ts", "request_id", "path", "duration", "response_size", "ip", "user_agent"}


def access(server: LiveServer, path: str) -> list[dict[str, Any]]:
    return [line for line in lines(server) if str(line.get("path", "")).startswith(path)]


@pytest.mark.parametrize(
    "sent", [b"PUT /kv/slow HTTP/1.1\r\nHost: k\r\nContent-Length: 9\r\n\r\n{", b"GET /kv/sl"]
)
def test_a_request_that_never_ends_is_ended(own: LiveServer, sent: bytes) -> None:
    own.settings |= {"KONSUL_HTTP_BODY_TIMEOUT": "200ms"}
    own.start()
    with socket.create_connection(("127.0.0.1", own.port), timeout=30) as connection:
        connection.sendall(sent)
        answer = connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 408 ") or not answer
        while connection.recv(4096):
            pass
    assert ask(own.port, "GET", "/health/live").status == 200


def test_the_program_says_its_version() -> None:
    said_so = subprocess.run(
        [sys.executable, "-m", "konsul.server", "--version"], capture_output=True, text=True, timeout=60
    )
    assert (said_so.returncode, said_so.stdout.split()[0]) == (0, "konsul")


def test_every_setting_is_a_flag_and_a_line_of_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    known = declarations(GROUPS)
    line = (
        "| `KONSUL_KV_MAX_VALUE_BYTES` | `--kv-max-value-bytes` | `kv_max_value_bytes` | bytes | `512KiB` |"
    )
    assert line in reference(known)
    with pytest.raises(SystemExit) as ended:
        parse(["--help"], known)
    assert ended.value.code == 0
    help_text = capsys.readouterr().out
    flags = [declaration.flag for declaration in known.values() if not declaration.secret]
    assert [flag for flag in flags if flag not in help_text] == [], "all but the secrets are arguments"
    assert parse(["--port", "1", "config", "reference"], known) == ("reference", {"KONSUL_PORT": "1"})


@pytest.mark.parametrize("argv", [["--no-such-flag"], ["--por", "1"], ["serve-me"], ["config"]])
def test_a_wrong_command_line_is_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(argv, declarations(GROUPS))
    assert ended.value.code == 2
    assert "usage: konsul" in capsys.readouterr().err
