"""Damaged snapshots: the one before is taken, or the start refused. A copied one alone is a backup."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.ask import put, value_of
from tests.disk_faults.logfile import flip
from tests.process import Server
from tests.waiting import until

OFTEN = {
    "KONSUL_RAFT_SNAPSHOT_THRESHOLD": "10",
    "KONSUL_RAFT_SNAPSHOT_INTERVAL": "20ms",
    "KONSUL_RAFT_TRAILING_LOGS": "0",
    "KONSUL_RAFT_SEGMENT_BYTES": "64KiB",
}


def snapshots(server: Server) -> list[Path]:
    """Finished snapshots, oldest first."""
    return sorted((server.data_dir / "snapshots").glob("*.snapshot"))


def killed_after_compaction(folder: Path) -> tuple[Server, dict[str, str]]:
    """A server killed after two snapshots, without its tables, and without the beginning of its log."""
    server = Server(folder / "data", OFTEN)
    written: dict[str, str] = {}

    def write_one() -> bool:
        key = f"k{len(written)}"
        written[key] = f"value of {key} ".ljust(4000, ".")
        assert put(server.port, key, written[key]).status == 200
        return len(snapshots(server)) >= 2 and not first.exists()

    with server:
        first = min(server.data_dir.rglob("*.wal"))
        until(write_one, "two snapshots and a log that is cut behind them")
        for _ in range(5):
            write_one()
    # Without the tables the start has to read a snapshot: as after the loss of the machine.
    shutil.rmtree(server.data_dir / "state")
    return server, written


def damage(snapshot: Path) -> None:
    flip(snapshot, snapshot.stat().st_size // 2)


def test_the_tables_come_back_from_a_snapshot_and_the_log(tmp_path: Path) -> None:
    server, written = killed_after_compaction(tmp_path)
    with server:
        assert {key: value_of(server.port, key) for key in written} == written


def test_a_damaged_newest_snapshot_falls_back_to_the_one_before(tmp_path: Path) -> None:
    server, written = killed_after_compaction(tmp_path)
    newest = snapshots(server)[-1]
    damage(newest)
    with server:
        assert {key: value_of(server.port, key) for key in written} == written
        assert newest.name in server.output(), "the operator is told which file is damaged"


def test_without_a_readable_snapshot_the_start_is_refused(tmp_path: Path) -> None:
    server, _ = killed_after_compaction(tmp_path)
    for snapshot in snapshots(server):
        damage(snapshot)
    assert server.refused() == 1
    assert snapshots(server)[-1].name in server.output()
    assert "backup" in server.output()
    assert "Traceback" not in server.output()


def test_a_copied_snapshot_alone_is_a_backup(tmp_path: Path) -> None:
    """What the operator's page says about restoring: a new directory, and in it the one file."""
    server, written = killed_after_compaction(tmp_path)
    copied = snapshots(server)[-1]
    restored = Server(tmp_path / "restored", OFTEN)
    (restored.data_dir / "snapshots").mkdir(parents=True)
    shutil.copy(copied, restored.data_dir / "snapshots")
    with restored:
        kept = [key for key in written if value_of(restored.port, key) == written[key]]
        assert kept == list(written)[: len(kept)]
        assert len(kept) >= 20
        assert put(restored.port, "after", "1").status == 200
    with restored:
        assert value_of(restored.port, "after") == "1"
