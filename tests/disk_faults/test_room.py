"""A full disk refuses writes and nothing else; a read-only or taken data directory stops the start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.ask import ask, put, value_of
from tests.disk_faults.disks import free_bytes, inside, may_mount, on_tmpfs, read_only, take
from tests.process import Server
from tests.waiting import until

MIB = 1 << 20
BALLAST = "ballast"
LIGHT = {"KONSUL_RAFT_SEGMENT_BYTES": "1MiB"}


def small_disk(folder: Path) -> tuple[Server, Path, int]:
    """A server on a disk with 128 MiB above its reserve, and where and how much to write to use them up.

    Where no disk can be mounted it is the real one, with a reserve just below what it has free.
    """
    folder.mkdir()
    if may_mount():
        settings = LIGHT | {"KONSUL_DISK_RESERVE_BYTES": str(64 * MIB)}
        return Server(folder / "data", settings, before=on_tmpfs(folder, 192)), folder / BALLAST, 150 * MIB
    reserve = free_bytes(folder) - 4096 * MIB
    settings = LIGHT | {"KONSUL_DISK_RESERVE_BYTES": str(reserve)}
    return Server(folder / "data", settings), folder / BALLAST, 6144 * MIB


def test_below_the_reserve_writes_are_refused_and_come_back_with_the_room(tmp_path: Path) -> None:
    server, path, size = small_disk(tmp_path / "disk")
    with server:
        ballast = inside(server, path)
        assert put(server.port, "before", "1").status == 200
        take(ballast, size)
        until(lambda: put(server.port, "during", "2").status == 507, "a full disk")
        assert put(server.port, "during", "2").json()["error"] == "Insufficient Storage"
        assert value_of(server.port, "before") == "1"
        assert ask(server.port, "DELETE", "/kv/before").status == 507
        assert ask(server.port, "GET", "/health/live").status == 200
        ballast.unlink()
        until(lambda: put(server.port, "after", "3").status == 200, "room again")
        assert (value_of(server.port, "before"), value_of(server.port, "after")) == ("1", "3")


@pytest.mark.parametrize("size_mib", [64] if may_mount() else [])
def test_a_disk_without_a_free_byte_loses_nothing(tmp_path: Path, size_mib: int) -> None:
    settings = LIGHT | {"KONSUL_DISK_RESERVE_BYTES": "0"}
    disk = tmp_path / "disk"
    disk.mkdir()
    with Server(disk / "data", settings, before=on_tmpfs(disk, size_mib)) as server:
        mounted = inside(server, disk)
        assert put(server.port, "before", "1").status == 200
        ballast = mounted / BALLAST
        take(ballast, free_bytes(mounted))
        written: dict[str, str] = {}

        def write_one() -> bool:
            key = f"k{len(written)}"
            answer = put(server.port, key, "x" * 20_000)
            if answer.status == 200:
                written[key] = "x" * 20_000
            # 504: it reached the log, but the tables have no room for it: its fate is open until they do.
            assert answer.status in (200, 504, 507), answer
            return answer.status == 507

        until(write_one, "a full disk", 60)
        assert all(value_of(server.port, key) == value for key, value in written.items())
        ballast.unlink()
        until(lambda: put(server.port, "after", "3").status == 200, "room again")
        assert all(value_of(server.port, key) == value for key, value in written.items())


def unwritable(folder: Path) -> Server:
    """A server that cannot write its data directory: only a mount stops root, its mode anybody else."""
    if os.geteuid() != 0:
        folder.mkdir(mode=0o555)
        return Server(folder)
    if may_mount():
        folder.mkdir()
        return Server(folder, before=read_only(folder))
    return Server(Path("/proc/konsul"), log=folder.with_suffix(".log"))


def test_a_read_only_data_directory_stops_the_start_with_its_name(tmp_path: Path) -> None:
    server = unwritable(tmp_path / "data")
    assert server.refused() == 1
    assert str(server.data_dir) in server.output()
    assert "writable" in server.output()
    assert "Traceback" not in server.output()


def test_a_second_process_is_turned_away_and_the_first_goes_on(tmp_path: Path) -> None:
    with Server(tmp_path / "data", LIGHT) as first:
        second = Server(tmp_path / "data")
        assert second.refused() == 1
        assert str(second.data_dir) in second.output()
        assert "in use by process" in second.output()
        assert "Traceback" not in second.output()
        assert put(first.port, "still", "here").status == 200


def test_a_taken_port_stops_the_start_with_its_number(tmp_path: Path) -> None:
    with Server(tmp_path / "one", LIGHT) as first:
        second = Server(tmp_path / "two")
        second.port = first.port
        assert second.refused() == 1
        assert str(first.port) in second.output()
        assert "Traceback" not in second.output()
