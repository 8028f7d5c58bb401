"""A damaged log: a torn end is cut and said, damage before it stops the start with words that help."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.ask import put, value_of
from tests.disk_faults.logfile import FRAME_BYTES, flip, frames, overwrite
from tests.process import Server

WRITES = 20
LIGHT = {"KONSUL_RAFT_SEGMENT_BYTES": "1MiB"}


def written(folder: Path) -> Server:
    """A server that took some writes and was killed."""
    server = Server(folder / "data", LIGHT)
    with server:
        for number in range(WRITES):
            assert put(server.port, f"k{number}", f"value {number}").status == 200
    return server


@pytest.mark.parametrize(
    "torn",
    [
        struct.pack("<II", 100, 0xDEADBEEF),
        struct.pack("<IIQ", 4000, 1, 2) + b"half a record",
        b"\xff" * 64,
    ],
    ids=["only its frame", "half its payload", "garbage"],
)
def test_a_torn_last_record_is_cut_off_and_everything_before_it_is_there(tmp_path: Path, torn: bytes) -> None:
    server = written(tmp_path)
    last = frames(server.data_dir)[-1]
    overwrite(last.file, last.end, torn)
    with server:
        for number in range(WRITES):
            assert value_of(server.port, f"k{number}") == f"value {number}"
        assert "torn" in server.output()
        assert put(server.port, "after", "goes on").status == 200
    with server:
        assert value_of(server.port, "after") == "goes on"


@pytest.mark.parametrize("where", ["frame", "payload"])
def test_a_flipped_byte_in_the_middle_stops_the_start_and_names_the_file(tmp_path: Path, where: str) -> None:
    server = written(tmp_path)
    found = frames(server.data_dir)
    victim = found[len(found) // 2]
    flip(victim.file, victim.offset + (FRAME_BYTES + 20 if where == "payload" else 5))
    assert server.refused() == 1
    assert victim.file.name in server.output()
    assert "estore the data directory from a snapshot or backup" in server.output()
    assert "Traceback" not in server.output()


def test_a_missing_segment_stops_the_start(tmp_path: Path) -> None:
    server = written(tmp_path)
    frames(server.data_dir)[0].file.unlink()
    assert server.refused() == 1
    assert "backup" in server.output()
    assert "Traceback" not in server.output()


def test_unsynced_writes_survive_a_kill_of_the_process(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", LIGHT | {"KONSUL_SYNC_WRITES": "false"})
    with server:
        assert put(server.port, "k", "v").status == 200
        assert "KONSUL_SYNC_WRITES" in server.output(), "the operator is told what is at risk"
    with server:
        assert value_of(server.port, "k") == "v"
