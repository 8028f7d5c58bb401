"""The store's journal: what was appended comes back, what a crash cut off does not."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from konsul.features.audit import store as stores
from konsul.features.audit.journal import RECORD, Journal
from konsul.features.audit.search import Question, find
from konsul.features.audit.store import EventStore
from tests.unit.audit.lines import BEGUN_NS, event

RECORDS = [(7, b"one"), (8, b""), (2**64 - 1, b"x" * 100_000)]


def held(path: Path) -> list[tuple[int, bytes]]:
    journal = Journal(path)
    try:
        return list(journal.records())
    finally:
        journal.close()


def test_what_was_appended_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    journal.append(RECORDS[:1])
    journal.append(RECORDS[1:])
    journal.close()
    assert held(path) == RECORDS
    assert path.stat().st_mode & 0o777 == 0o600
    journal = Journal(path)
    assert journal.size_bytes == path.stat().st_size > 0
    journal.clear()
    journal.append(RECORDS[:1])
    journal.close()
    assert held(path) == RECORDS[:1]


@pytest.mark.parametrize("cut", [1, 2, RECORD.size, RECORD.size + 1, 100_000])
def test_what_a_crash_cut_off_is_not_there(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    journal.append(RECORDS)
    journal.close()
    os.truncate(path, path.stat().st_size - cut)
    assert held(path) == RECORDS[:2]


@pytest.mark.parametrize("at", range(RECORD.size + 3))
def test_a_record_with_a_wrong_byte_ends_it(tmp_path: Path, at: int) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    journal.append(RECORDS)
    journal.close()
    content = bytearray(path.read_bytes())
    content[at] ^= 0x40
    path.write_bytes(content)
    assert held(path) == []


def test_a_disk_that_takes_a_part_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    journal.append(RECORDS[:1])
    honest = os.write

    def full(fd: int, data: memoryview) -> int:
        if len(data) > 50:
            return honest(fd, data[:50])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            journal.append([(9, b"y" * 60)])
    journal.append(RECORDS[1:2])
    journal.close()
    assert held(path) == RECORDS[:2]


def test_what_was_flushed_and_not_cleared_is_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "FLUSH_BYTES", 1)
    path = tmp_path / "audit"
    kept = EventStore(path, retention_ms=10**12, max_bytes=1 << 30)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "clear", lambda _: None)
        kept.append(event(1, BEGUN_NS))
        kept.append(event(2, BEGUN_NS))
        kept.close()
    assert len(held(path / "journal")) == 2
    kept = EventStore(path, retention_ms=10**12, max_bytes=1 << 30)
    assert len(find(kept, Question(), limit=10).lines) == 2
    assert held(path / "journal") == []
    kept.close()
