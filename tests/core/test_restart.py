"""What survives: stops, SIGKILLs, snapshots, and a data directory somebody touched."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack
import pytest

from konsul.engine import Engine
from konsul.errors import Invalid, StartFailed
from tests.core.node import KV, SCHEMA, TABLES, cells, column, options, running, story

SMALL_LOG: dict[str, Any] = {
    "snapshot_threshold_entries": 5,
    "snapshot_interval_ms": 10,
    "trailing_entries": 2,
}


async def fails_to_start(data_dir: Path, said: str, schema: bytes = SCHEMA, **more: Any) -> None:
    engine = Engine(options(data_dir, **more))
    with pytest.raises(StartFailed, match=said):
        await engine.start(schema)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_everything_is_there_after_a_restart_and_no_index_comes_twice(tmp_path: Path) -> None:
    async def told() -> None:
        index = 0
        for life in range(3):
            async with running(tmp_path) as engine:
                for n in range(10):
                    applied = await engine.put(KV, b"%d/%d" % (life, n), cells(b"v%d" % n))
                    assert applied.index == index + 1
                    index = applied.index
        async with running(tmp_path) as engine:
            assert (engine.count(KV), engine.status()["index"]) == (30, 30)

    story(told)


def test_a_killed_writer_lost_nothing_it_was_told(tmp_path: Path) -> None:
    async def check(acknowledged: dict[bytes, int]) -> None:
        async with running(tmp_path) as engine:
            for key, index in acknowledged.items():
                row = engine.get(KV, key)
                assert row is not None, key
                assert row.modify_index == index
            status = engine.status()
            assert status["index"] >= len(acknowledged)
            assert not any("discarded" in note or "rebuilt" in note for note in status["notes"])

    acknowledged: dict[bytes, int] = {}
    for life in range(4):
        acknowledged |= kill_a_writer(tmp_path, life, answers=40 * (life + 1))
        asyncio.run(check(acknowledged))
    assert len(set(acknowledged.values())) == len(acknowledged)


def kill_a_writer(data_dir: Path, life: int, answers: int) -> dict[bytes, int]:
    """Runs a writer until it has printed `answers` acknowledgements, then SIGKILLs it."""
    command = [sys.executable, "-m", "tests.core.writer", str(data_dir), str(life)]
    acknowledged = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            key, index = line.split()
            acknowledged[key] = int(index)
            if len(acknowledged) == answers:
                writer.send_signal(signal.SIGKILL)
                break
        assert writer.wait(timeout=30) == -signal.SIGKILL
    assert len(acknowledged) == answers
    return acknowledged


async def write_until_shortened(engine: Engine) -> int:
    """Writes until snapshots have taken the first 20 entries off the log; the number of writes."""
    for n in range(100_000):
        await engine.put(KV, b"%d" % n, cells(b"v"))
        if engine.status()["raft"]["first_index"] > 20:
            return n + 1
    raise AssertionError("the log was never shortened")


def test_snapshots_shorten_the_log_and_a_restart_goes_on(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path, **SMALL_LOG) as engine:
            written = await write_until_shortened(engine)
            before = engine.digest()
        assert 1 <= len(names(tmp_path / "snapshots")) <= 2
        async with running(tmp_path, **SMALL_LOG) as engine:
            assert engine.digest() == before
            assert (await engine.put(KV, b"next", cells(b"v"))).index == written + 1

    story(told)


def test_lost_tables_are_rebuilt_from_snapshot_and_log(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path, trailing_entries=0) as engine:
            for n in range(20):
                await engine.put(KV, b"%d" % n, cells(b"v"))
            index = await engine.snapshot()
            assert index == 20
            for n in range(20, 30):
                await engine.put(KV, b"%d" % n, cells(b"v"))
            before = engine.digest()
        for damage in (b"", b"not a map of pages at all" * 1000):
            for file in (tmp_path / "state").iterdir():
                file.unlink()
            if damage:
                (tmp_path / "state" / "data.mdb").write_bytes(damage)
            async with running(tmp_path, trailing_entries=0) as engine:
                assert (engine.digest(), engine.status()["index"]) == (before, 30)

    story(told)


def test_a_snapshot_that_the_log_did_not_lead_to_is_passed_over(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path, trailing_entries=0) as engine:
            await engine.put(KV, b"a", cells(b"v"))
            await engine.snapshot()
            await engine.put(KV, b"b", cells(b"v"))
            before = engine.digest()
        (newest,) = (tmp_path / "snapshots").iterdir()
        index, _, term = newest.stem.partition("-")
        newest.rename(newest.with_name(f"{index}-{int(term) + 1:020}.snapshot"))
        shutil.rmtree(tmp_path / "state")
        async with running(tmp_path, trailing_entries=0) as engine:
            assert (engine.digest(), engine.status()["index"]) == (before, 2)
            assert any("another entry" in note for note in engine.status()["notes"])

    story(told)


def test_a_snapshot_alone_is_a_backup(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path / "old") as engine:
            for n in range(20):
                await engine.put(KV, b"%d" % n, cells(b"v"))
            await engine.snapshot()
            before = engine.digest()
        shutil.copytree(tmp_path / "old" / "snapshots", tmp_path / "new" / "snapshots")
        for _ in range(2):
            async with running(tmp_path / "new", node_id=7) as engine:
                assert (engine.digest(), engine.status()["index"]) == (before, 20)
        async with running(tmp_path / "new", node_id=7) as engine:
            assert (await engine.put(KV, b"next", cells(b"v"))).index == 21

    story(told)


def test_a_snapshot_of_nothing_new_is_refused(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path) as engine:
            await engine.put(KV, b"a", cells(b"v"))
            assert await engine.snapshot() == 1
            with pytest.raises(Invalid, match="nothing new"):
                await engine.snapshot()
            await engine.put(KV, b"a", cells(b"v"))
            assert await engine.snapshot() == 2

    story(told)


def test_a_memory_node_forgets_and_keeps_its_log_short(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path, backend="memory", **SMALL_LOG) as engine:
            await write_until_shortened(engine)
        assert names(tmp_path) == []
        async with running(tmp_path, backend="memory") as engine:
            assert engine.count(KV) == 0

    story(told)


def test_a_second_node_on_the_directory_is_told_who_holds_it(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path):
            await fails_to_start(tmp_path, "in use by process")
        async with running(tmp_path):
            pass

    story(told)


def test_a_directory_belongs_to_one_node(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path, node_id=3):
            pass
        await fails_to_start(tmp_path, "belongs to node 3", node_id=4)

    story(told)


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (("log",), "log of .* is missing"),
        (("log", "state"), "log of .* is missing"),
        (("log", "identity"), "tables but no log"),
    ],
)
def test_a_directory_without_its_log_is_refused(tmp_path: Path, lost: tuple[str, ...], said: str) -> None:
    async def told() -> None:
        async with running(tmp_path) as engine:
            await engine.put(KV, b"a", cells(b"v"))
            await engine.snapshot()
            await engine.put(KV, b"b", cells(b"v"))
        for name in lost:
            path = tmp_path / name
            path.unlink() if path.is_file() else shutil.rmtree(path)
        for _ in range(2):
            await fails_to_start(tmp_path, said)

    story(told)


def test_a_place_that_cannot_be_written_is_named() -> None:
    story(lambda: fails_to_start(Path("/proc/konsul"), "KONSUL_DATA_DIR"))


def test_tables_and_columns_may_be_added_and_nothing_taken_away(tmp_path: Path) -> None:
    more = [dict(each) for each in TABLES]
    more[0]["columns"] = [*TABLES[0]["columns"], column("owner", "text", "nobody")]  # type: ignore[misc]

    async def told() -> None:
        async with running(tmp_path) as engine:
            await engine.put(KV, b"a", cells(b"v"))
        async with running(tmp_path, msgpack.packb(more)) as engine:
            assert engine.status()["index"] == 1
            await engine.put(KV, b"b", cells(b"v", 0, None, "me"))
            assert [row.cells[3:] for _, row in engine.scan(KV).rows] == [[], ["me"]]
        await fails_to_start(tmp_path, "cannot follow")
        await fails_to_start(tmp_path, "the schema is not valid", b"\x91\x80")

    story(told)
