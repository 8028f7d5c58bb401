"""The writer: nothing recorded is lost silently, nobody waits, and the end is orderly."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from konsul.features.audit.events import PlainAuditLog
from konsul.features.audit.search import Question, find
from konsul.features.audit.store import EventStore
from konsul.features.audit.writer import Writer
from konsul_ext.audit import AuditLog
from tests.unit.audit.lines import ALICE
from tests.waiting import until

ACTIONS = {"kv.get": ("kv.get", "kv", False), "kv.set": ("kv.set", "kv", True)}
NEVER_S = 3_600.0
LOGS = pytest.mark.parametrize("kind", [AuditLog, PlainAuditLog])


class Disk:
    """A sink in memory that can be full, or stuck."""

    name = "file"

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.full = False
        self.go = threading.Event()
        self.go.set()
        self.reopened = self.closed = 0

    def open(self) -> None:
        assert not self.lines

    def write(self, lines: bytes) -> None:
        self.go.wait()
        if self.full:
            raise OSError(28, "No space left on device")
        self.lines += lines.splitlines()

    def reopen(self) -> None:
        self.reopened += 1

    def close(self) -> None:
        self.closed += 1


def record(log: Any, number: int, **more: Any) -> None:
    call: dict[str, Any] = {"method": "GET", "path": b"/kv/k", "status": 200, "took_ns": 5, "request_id": "r"}
    log.record(ALICE, "::1", more.pop("verb", "kv.get"), f"k{number}", **(call | more))


def ids(disk: Disk) -> list[str]:
    return [json.loads(line)["resource"]["id"] for line in disk.lines]


def writer_of(log: Any, disk: Disk, store: EventStore | None = None, insists: bool = False) -> Writer:
    made = Writer(log, disk, store, interval_s=NEVER_S, insists=insists)
    made.start()
    return made


@LOGS
def test_a_flush_writes_what_was_recorded_before(kind: Any, tmp_path: Path) -> None:
    log, disk = kind(ACTIONS, "n"), Disk()
    store = EventStore(tmp_path / "audit", retention_ms=10**9, max_bytes=1 << 30)
    writer = writer_of(log, disk, store)
    for number in range(10):
        record(log, number)
    assert writer.flush(30)
    assert ids(disk) == [f"k{number}" for number in range(10)]
    assert len(find(store, Question(), limit=100).lines) == 10
    assert (writer.of["file"].written, writer.of["store"].written) == (10, 10)
    writer.stop(30)


@LOGS
def test_a_filling_buffer_does_not_wait_for_the_interval(kind: Any) -> None:
    disk = Disk()
    holder: list[Writer] = []
    log = kind(ACTIONS, "n", events_max=100, wake=lambda: holder[0].wake())
    holder.append(writer_of(log, disk))
    for number in range(25):
        record(log, number)
    until(lambda: len(disk.lines) == 25, "the writer to be woken")
    holder[0].stop(30)


@LOGS
def test_at_the_end_what_is_buffered_is_written(kind: Any) -> None:
    log, disk = kind(ACTIONS, "n"), Disk()
    writer = writer_of(log, disk)
    record(log, 1)
    writer.stop(30)
    assert ids(disk) == ["k1"]
    assert disk.closed == 1


@LOGS
def test_a_full_buffer_drops_and_counts(kind: Any) -> None:
    log = kind(ACTIONS, "n", events_max=5)
    for number in range(8):
        record(log, number)
    assert (log.recorded, log.dropped, log.waiting(), log.admits()) == (5, 3, 5, True)
    log.take()
    record(log, 9)
    assert (log.recorded, log.dropped) == (6, 3)


@LOGS
def test_large_events_fill_the_buffer_by_their_bytes(kind: Any) -> None:
    log = kind(ACTIONS, "n", events_max=10)
    for number in range(10):
        record(log, number, path=b"/" * 2_000, reason="x" * 500)
    assert log.dropped > 0


@LOGS
def test_blocking_refuses_before_the_request_and_never_loses_one_that_was_let_in(kind: Any) -> None:
    log, disk = kind(ACTIONS, "n", events_max=5, drop_policy="block"), Disk()
    disk.go.clear()
    writer = writer_of(log, disk, insists=True)
    record(log, 0)
    writer.wake()
    until(lambda: log.waiting() == 0, "the writer to be stuck with a batch")
    for number in range(1, 6):
        assert log.admits()
        record(log, number)
    assert not log.admits()
    # These were under way already: whoever records is never held up, not even by a stuck disk.
    record(log, 6)
    record(log, 7)
    assert (log.dropped, log.refused, log.waiting()) == (0, 1, 7)
    disk.go.set()
    assert writer.flush(30)
    assert log.admits()
    writer.stop(30)
    assert ids(disk) == [f"k{number}" for number in range(8)]


@LOGS
def test_blocking_keeps_what_a_full_disk_did_not_take(kind: Any) -> None:
    log, disk = kind(ACTIONS, "n", events_max=2, drop_policy="block"), Disk()
    disk.full = True
    writer = writer_of(log, disk, insists=True)
    record(log, 1)
    assert writer.flush(30)
    record(log, 2)
    record(log, 3)
    assert writer.flush(30)
    assert not log.admits()
    assert "No space left" in str(writer.health())
    disk.full = False
    assert writer.flush(30)
    assert writer.flush(30)
    assert log.admits()
    assert writer.health() is None
    assert ids(disk) == ["k1", "k2", "k3"]
    disk.full = True
    record(log, 4)
    writer.stop(30)
    assert writer.lost_at_stop == 1


@LOGS
def test_dropping_counts_what_a_full_disk_did_not_take_and_goes_on(kind: Any) -> None:
    log, disk = kind(ACTIONS, "n"), Disk()
    disk.full = True
    writer = writer_of(log, disk)
    record(log, 1)
    assert writer.flush(30)
    disk.full = False
    record(log, 2)
    assert writer.flush(30)
    assert ids(disk) == ["k2"]
    assert (writer.of["file"].written, writer.of["file"].errors) == (1, 1)
    assert writer.health() is None
    writer.stop(30)


@LOGS
def test_a_failing_store_keeps_no_line_from_the_file(kind: Any, tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("in the way")
    log, disk = kind(ACTIONS, "n"), Disk()
    writer = writer_of(log, disk, EventStore(tmp_path / "audit", retention_ms=10**9, max_bytes=1 << 30))
    for number in range(3):
        record(log, number)
        assert writer.flush(30)
    assert ids(disk) == ["k0", "k1", "k2"]
    assert writer.of["store"].errors == 3
    assert "store" in str(writer.health())
    writer.stop(30)


@LOGS
def test_reopening_comes_after_what_was_recorded_before(kind: Any) -> None:
    log, disk = kind(ACTIONS, "n"), Disk()
    writer = writer_of(log, disk)
    record(log, 1)
    writer.reopen()
    assert writer.flush(30)
    assert (ids(disk), disk.reopened) == (["k1"], 1)
    writer.stop(30)


@LOGS
def test_a_stuck_disk_does_not_hold_up_the_end(kind: Any) -> None:
    log, disk = kind(ACTIONS, "n"), Disk()
    disk.go.clear()
    writer = writer_of(log, disk)
    record(log, 1)
    writer.stop(0.05)
    assert ids(disk) == []
    disk.go.set()


@LOGS
def test_many_threads_lose_nothing_and_tear_no_line(kind: Any) -> None:
    disk = Disk()
    holder: list[Writer] = []
    log = kind(ACTIONS, "n", events_max=400, drop_policy="block", wake=lambda: holder[0].wake())
    holder.append(writer_of(log, disk, insists=True))

    def records(first: int) -> None:
        for number in range(first, first + 2_000):
            record(log, number)

    threads = [threading.Thread(target=records, args=(first,)) for first in range(0, 8_000, 2_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    holder[0].stop(30)
    assert sorted(ids(disk)) == sorted(f"k{number}" for number in range(8_000))


@LOGS
@pytest.mark.parametrize(
    ("which", "kept"),
    [
        ("all", ["get", "set", "refused get", "failed get", "unknown get", "unknown put"]),
        ("writes", ["set", "refused get", "failed get", "unknown put"]),
        ("denied", ["refused get", "failed get"]),
    ],
)
def test_what_is_recorded_can_be_chosen(kind: Any, which: str, kept: list[str]) -> None:
    log = kind(ACTIONS, "n", which=which)
    calls: list[dict[str, Any]] = [
        {"reason": "get"},
        {"reason": "set", "verb": "kv.set", "method": "PUT"},
        {"reason": "refused get", "status": 403},
        {"reason": "failed get", "status": 500},
        {"reason": "unknown get", "verb": "http.get"},
        {"reason": "unknown put", "verb": "http.put", "method": "PUT"},
    ]
    # Twice: an action named by the route is remembered, and stays what it is.
    for call in calls * 2:
        record(log, 0, **call)
    lines = (log.take() or (b"",))[0].splitlines()
    assert [json.loads(line)["reason"] for line in lines] == kept * 2
