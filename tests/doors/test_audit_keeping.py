"""What becomes of events when disks fail, buffers fill, files move and servers die."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from tests.ask import ask, put
from tests.doors.metrics_page import sample
from tests.doors.trail import audited_server, events, of_request
from tests.waiting import until


def lines_of(path: Path) -> list[dict[str, object]]:
    """The events of a file, every line of which is whole."""
    text = path.read_bytes() if path.exists() else b""
    assert not text or text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()]


def ids_in(path: Path) -> set[object]:
    return {event["resource"].get("id") for event in lines_of(path)}  # type: ignore[attr-defined]


def test_what_was_written_survives_a_kill_and_what_was_buffered_a_stop(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "audit.log"
    with audited_server(tmp_path, KONSUL_AUDIT_FLUSH_INTERVAL="1m") as server:
        for number in range(50):
            put(server.port, f"killed/{number}", "1")
        assert len(events(server.port, action="kv.set")) == 50
        put(server.port, "lost", "1")
        server.restart()
        kept = events(server.port, action="kv.set")
        assert [event["resource"]["id"] for event in kept] == [f"killed/{number}" for number in range(50)]
        assert {f"killed/{number}" for number in range(50)} <= ids_in(log)
        answer = put(server.port, "at-the-end", "1")
        assert server.stop() == 0
        assert "at-the-end" in ids_in(log)
        server.start()
        assert len(of_request(server.port, answer.headers["x-request-id"])) == 1


def test_hanging_up_opens_the_file_anew(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "audit.log"
    with audited_server(tmp_path) as server:
        put(server.port, "before", "1")
        until(lambda: "before" in ids_in(log), "the event before")
        log.rename(log.with_suffix(".old"))
        os.kill(server.pid, signal.SIGHUP)
        put(server.port, "after", "1")
        until(lambda: "after" in ids_in(log), "the event after")
        assert "before" in ids_in(log.with_suffix(".old"))
        assert "before" not in ids_in(log)
        assert log.stat().st_mode & 0o777 == 0o600


def test_files_are_rotated_under_load_and_hold_every_event_once(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    more = {"KONSUL_AUDIT_FILE_MAX_BYTES": "16KiB", "KONSUL_AUDIT_FILE_KEEP": "1000"}
    with audited_server(tmp_path, **more) as server:
        for number in range(400):
            put(server.port, f"turn/{number}", "1")
        assert server.stop() == 0
    files = list(folder.iterdir())
    assert len(files) > 5
    found = [event["resource"]["id"] for file in files for event in lines_of(file)]  # type: ignore[index]
    assert sorted(found) == sorted(f"turn/{number}" for number in range(400))


def test_a_disk_that_fails_is_counted_and_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    with audited_server(tmp_path) as server:
        for number in range(20):
            assert put(server.port, f"on/{number}", "1").status == 200
        assert len(events(server.port, resource="on/*")) == 20
        until(
            lambda: sample(server.port, "konsul_audit_events_total", sink="file", status="error") >= 20,
            "the lost events to be counted",
        )
        stats = ask(server.port, "GET", "/audit/stats").json()
        assert stats["sinks"]["file"]["failing"]
        assert stats["sinks"]["store"]["errors"] == 0
        assert server.output().count("audit events cannot be written") == 1
        (tmp_path / "logs").unlink()
        put(server.port, "back", "1")
        until(lambda: "back" in ids_in(tmp_path / "logs" / "audit.log"), "the file to be written again")


def test_blocking_refuses_requests_until_there_is_room_and_loses_none(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    more = {"KONSUL_AUDIT_DROP_POLICY": "block", "KONSUL_AUDIT_BUFFER_SIZE": "20"}
    with audited_server(tmp_path, **more) as server:
        statuses: list[int] = []

        def work(worker: int) -> None:
            for number in range(100):
                # One way by the listener's answering thread, one by the loop: neither may hang.
                path = f"/kv/blocked/{worker}-{number}" + ("?metadata=true" if number % 2 else "")
                statuses.append(ask(server.port, "GET", path).status)

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(statuses) == {404, 503}
        answer = ask(server.port, "GET", "/kv/blocked/now")
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert ask(server.port, "GET", "/health/live").status == 200
        (tmp_path / "logs").unlink()
        until(lambda: ask(server.port, "GET", "/kv/blocked/now").status == 404, "room in the log")
        assert server.stop() == 0
    let_in = [event for event in lines_of(tmp_path / "logs" / "audit.log") if event["http_status"] == 404]
    asked = [event for event in let_in if "/kv/blocked/now" not in str(event["http_path"])]
    assert len(asked) == statuses.count(404)


def test_dropping_answers_and_counts_what_is_lost(tmp_path: Path) -> None:
    more = {"KONSUL_AUDIT_BUFFER_SIZE": "1", "KONSUL_AUDIT_FLUSH_INTERVAL": "1m"}
    with audited_server(tmp_path, **more) as server:
        # Many events at the end of one request: the writer cannot come between all of them.
        fields = " ".join(f'a{n}: kvSet(key: "{n}", value: "1") {{ modifyIndex }}' for n in range(20))
        body = {"query": f"mutation {{ {fields} }}"}

        def lost() -> bool:
            assert ask(server.port, "POST", "/graphql", body).status == 200
            return sample(server.port, "konsul_audit_events_dropped_total", **buffer_full) > 0

        buffer_full = {"sink": "file", "reason": "buffer_full"}
        until(lost, "an event to be dropped")
        stats = ask(server.port, "GET", "/audit/stats").json()
        assert (stats["dropped"] > 0, stats["refused_requests"], stats["drop_policy"]) == (True, 0, "drop")


@pytest.mark.parametrize(("which", "kept"), [("writes", {"kv.set", "kv.get"}), ("denied", {"kv.get"})])
def test_what_is_recorded_can_be_chosen(tmp_path: Path, which: str, kept: set[str]) -> None:
    with audited_server(tmp_path, KONSUL_AUDIT_EVENTS=which) as server:
        put(server.port, "a", "1")
        ask(server.port, "GET", "/kv/a")
        ask(server.port, "GET", "/kv/absent")
        found = events(server.port)
        assert {event["action"] for event in found} == kept
        assert all(event["result"] == "denied" for event in found if event["action"] == "kv.get")


def test_standard_output_gets_the_lines_alone(tmp_path: Path) -> None:
    more = {"KONSUL_AUDIT_SINK": "stdout", "KONSUL_AUDIT_STORE_ENABLED": "false"}
    with audited_server(tmp_path, **more) as server:
        answer = put(server.port, "out", "1")
        until(lambda: '"action":"kv.set"' in server.output(), "the line")
        lines = [line for line in server.output().splitlines() if line.startswith('{"event_id"')]
        assert [json.loads(line)["request_id"] for line in lines] == [answer.headers["x-request-id"]]
        refused = ask(server.port, "GET", "/audit/events")
        assert (refused.status, refused.json()["error"]) == (404, "audit store not enabled")
        assert ask(server.port, "GET", "/audit/stats").json()["store"] is None
        assert not (tmp_path / "data" / "audit").exists()


def test_without_auditing_nothing_is_kept_and_the_routes_say_so(tmp_path: Path) -> None:
    with audited_server(tmp_path, KONSUL_AUDIT_ENABLED="false") as server:
        put(server.port, "a", "1")
        for path in ("/audit/events", "/audit/stats"):
            answer = ask(server.port, "GET", path)
            assert (answer.status, answer.json()["error"]) == (404, "audit not enabled")
        assert not (tmp_path / "logs").exists()
        assert not (tmp_path / "data" / "audit").exists()
        assert "konsul_audit" not in ask(server.port, "GET", "/metrics").body.decode()


def test_data_in_memory_leaves_no_store_on_the_disk(tmp_path: Path) -> None:
    with audited_server(tmp_path, KONSUL_PERSISTENCE_TYPE="memory") as server:
        put(server.port, "a", "1")
        until(lambda: "a" in ids_in(tmp_path / "logs" / "audit.log"), "the line in the file")
        assert ask(server.port, "GET", "/audit/events").status == 404
        assert not (tmp_path / "data" / "audit").exists()
        assert "audit events are not kept for searching" in server.output()
