"""Every wait has an end and every queue a bound, and each says so by its own error."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from konsul import _core
from konsul.engine import Engine, Options, raise_for
from konsul.errors import Busy, Conflict, DiskFull, Internal, Invalid, KonsulError, Stopping, Timeout
from tests.core.node import KV, SCHEMA, cells, options, running, story


def test_a_write_whose_time_is_up_says_that_it_may_still_be_applied(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path) as engine:
            with pytest.raises(Timeout, match="may still be applied"):
                await engine.put(KV, b"late", cells(b"v"), timeout_ms=0)
            assert not engine.waiting
            await engine.put(KV, b"next", cells(b"v"))
            assert engine.status()["waiting_entries"] == 0

    story(told)


def test_more_than_may_wait_is_busy_and_passes(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path, inflight_max_entries=2) as engine:
            attempts = [engine.put(KV, b"%d" % n, cells(b"v")) for n in range(500)]
            answers = await asyncio.gather(*attempts, return_exceptions=True)
            refused = [answer for answer in answers if isinstance(answer, Busy)]
            assert refused
            assert engine.count(KV) == 500 - len(refused)
            await engine.put(KV, b"again", cells(b"v"))

    story(told)


def test_a_disk_below_its_reserve_refuses_writes_and_serves_reads(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path) as engine:
            await engine.put(KV, b"a", cells(b"v"))
        async with running(tmp_path, disk_reserve_bytes=1 << 60) as engine:
            with pytest.raises(DiskFull, match="free space"):
                await engine.put(KV, b"b", cells(b"v"))
            assert engine.get(KV, b"a") is not None
            assert engine.status()["disk"]["full"]

    story(told)


def test_a_new_node_on_a_full_disk_does_not_start(tmp_path: Path) -> None:
    async def told() -> None:
        engine = Engine(options(tmp_path, disk_reserve_bytes=1 << 60))
        with pytest.raises(KonsulError, match="disk"):
            await engine.start(SCHEMA)

    story(told)


def test_a_stopped_node_takes_nothing(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path, backend="memory") as engine:
            pass
        with pytest.raises(Stopping):
            await engine.put(KV, b"a", cells(b"v"))
        with pytest.raises(Stopping):
            engine.get(KV, b"a")

    story(told)


def test_stopping_finishes_what_is_in_flight(tmp_path: Path) -> None:
    async def told() -> None:
        engine = Engine(options(tmp_path))
        await engine.start(SCHEMA)
        writes = [asyncio.ensure_future(engine.put(KV, b"%d" % n, cells(b"v"))) for n in range(200)]
        # One pass of the loop lets every writer submit before the stop is asked for.
        await asyncio.sleep(0)
        await engine.stop()
        answers = await asyncio.gather(*writes)
        assert sorted(answer.index for answer in answers) == list(range(1, 201))

    story(told)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"heartbeat_ms": 500}, "heartbeat_ms is 500 and election_ms is 1000"),
        ({"snapshot_threshold_entries": 0}, "snapshot_threshold_entries is 0"),
        ({"backend": "paper"}, "paper"),
        ({"node_id": -1}, "node_id"),
    ],
)
def test_options_that_cannot_work_are_named(tmp_path: Path, wrong: dict[str, object], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        Engine(options(tmp_path, **wrong))


def test_options_that_nobody_knows_are_refused() -> None:
    with pytest.raises(_core.CoreError, match="missing"):
        _core.Core(b"\x80")
    packed = Options(data_dir="x").packed()
    more = bytes([packed[0], packed[1], packed[2] + 1]) + packed[3:] + b"\xa5extra\x01"
    with pytest.raises(_core.CoreError, match="extra"):
        _core.Core(more)


def test_every_code_becomes_its_class() -> None:
    for code, kind in KonsulError.by_code.items():
        if code not in (0, Conflict.code):
            with pytest.raises(kind, match="why"):
                raise_for((1, code, 0, 0, b"why"))
    with pytest.raises(Conflict) as refused:
        raise_for((1, 1, 0, 7, b"key"))
    assert (refused.value.key, refused.value.current) == (b"key", 7)
    with pytest.raises(Internal, match="999"):
        raise_for((1, 999, 0, 0, b"?"))
