"""The audit file: whole lines only, rotated, opened again, and private."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path

import pytest

from konsul.features.audit import sinks
from konsul.features.audit.config import AuditSettings
from konsul.features.audit.sinks import FileSink, StdoutSink
from tests.unit.audit.lines import SECOND_NS, event


def sink_at(path: Path, **settings: object) -> FileSink:
    return FileSink(AuditSettings(file_path=str(path), **settings))  # type: ignore[arg-type]


def ids_in(path: Path) -> list[str]:
    """The ids of what was touched, in order; fails on a line that is no whole event."""
    text = path.read_bytes()
    assert not text or text.endswith(b"\n")
    return [json.loads(line)["resource"]["id"] for line in text.splitlines()]


def test_file_and_directory_are_for_the_server_only(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "deep" / "audit.log"
    sink = sink_at(path)
    sink.write(event(1))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    sink.close()


def test_what_was_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    for number in range(3):
        sink = sink_at(path)
        sink.write(event(number))
        sink.close()
    assert ids_in(path) == ["app/0", "app/1", "app/2"]


def test_a_file_over_its_size_moves_on_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    sink = sink_at(path, file_max_bytes=3 * len(event(10)), file_keep=2)
    for number in range(10, 20):
        sink.write(event(number))
    sink.close()
    assert ids_in(path) == ["app/19"]
    assert ids_in(tmp_path / "audit.log.1") == ["app/16", "app/17", "app/18"]
    assert ids_in(tmp_path / "audit.log.2") == ["app/13", "app/14", "app/15"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["audit.log", "audit.log.1", "audit.log.2"]
    assert (tmp_path / "audit.log.2").stat().st_mode & 0o777 == 0o600


def test_none_kept_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    sink = sink_at(path, file_max_bytes=1, file_keep=0)
    sink.write(event(1))
    sink.write(event(2))
    sink.close()
    assert ids_in(path) == ["app/2"]
    assert list(tmp_path.iterdir()) == [path]


def test_the_age_is_that_of_the_first_event_also_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    an_hour_ago_ns = time.time_ns() - 3_600 * SECOND_NS
    sink = sink_at(path)
    sink.write(event(1, an_hour_ago_ns))
    sink.close()
    sink = sink_at(path, file_max_age_ms=2 * 3_600_000)
    sink.write(event(2))
    sink.close()
    assert ids_in(path) == ["app/1", "app/2"]
    sink = sink_at(path, file_max_age_ms=60_000)
    sink.write(event(3))
    sink.write(event(4))
    sink.close()
    assert ids_in(path) == ["app/3", "app/4"]
    assert ids_in(tmp_path / "audit.log.1") == ["app/1", "app/2"]


def test_a_file_that_was_moved_away_or_deleted_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "audit.log"
    sink = sink_at(path)
    sink.write(event(1))
    path.rename(tmp_path / "moved.log")
    sink.write(event(2))
    assert (ids_in(tmp_path / "moved.log"), ids_in(path)) == (["app/1"], ["app/2"])
    path.unlink()
    path.parent.rmdir()
    sink.write(event(3))
    assert ids_in(path) == ["app/3"]
    sink.close()


def test_asked_to_reopen_it_writes_to_what_is_at_the_path(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    sink = sink_at(path)
    sink.write(event(1))
    sink.reopen()
    sink.write(event(2))
    sink.close()
    assert ids_in(path) == ["app/1", "app/2"]


def test_half_a_line_of_a_crash_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_bytes(event(1) + event(2)[:57])
    sink = sink_at(path)
    sink.write(event(3))
    sink.close()
    assert ids_in(path) == ["app/1", "app/3"]


def test_a_foreign_file_is_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    foreign = b"x" * (sinks.TAIL_BYTES + 10)
    path.write_bytes(foreign)
    sink = sink_at(path)
    sink.write(event(3))
    sink.close()
    assert path.read_bytes() == foreign + b"\n" + event(3)


def test_a_disk_that_takes_half_a_batch_gets_none_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.log"
    sink = sink_at(path)
    sink.write(event(1))
    honest = os.write
    room = [len(event(2)) + 40]

    def full(fd: int, data: memoryview) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = honest(fd, data[: room[0]])
        room[0] -= taken
        return taken

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        sink.write(event(2) + event(3))
    assert ids_in(path) == ["app/1"]
    monkeypatch.setattr(os, "write", honest)
    sink.write(event(4))
    sink.close()
    assert ids_in(path) == ["app/1", "app/4"]


def test_standard_output_gets_all_of_it() -> None:
    reader, writer = os.pipe()
    lines = event(1) + event(2)
    StdoutSink(writer).write(lines)
    os.close(writer)
    with os.fdopen(reader, "rb") as read:
        assert read.read() == lines
