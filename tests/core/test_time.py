"""What time alone brings: rows that expire, leases that end unless renewed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from konsul.errors import NotFound
from tests.core.node import KV, SERVICES, cells, running, soon_ms, story
from tests.waiting import until_async


def test_a_row_goes_at_its_deadline_and_takes_one_index(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path) as engine:
            await engine.put(KV, b"brief", cells(b"v", 0, soon_ms(100)))
            await engine.put(KV, b"long", cells(b"v", 0, soon_ms(3_600_000)))
            assert engine.get(KV, b"brief") is not None
            await until_async(lambda: engine.get(KV, b"brief") is None, "the row to expire")
            assert engine.get(KV, b"long") is not None
            assert engine.status()["index"] == 3
            assert engine.metrics()["counters"]["expired_rows_total"] == 1

    story(told)


def test_more_than_one_pulse_takes_what_is_due(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path, backend="memory") as engine:
            at_ms = soon_ms(300)
            puts = (engine.put(KV, b"%d" % n, cells(b"v", 0, at_ms)) for n in range(2_500))
            await asyncio.gather(*puts)
            await until_async(lambda: engine.count(KV) == 0, "all rows to expire")
            assert engine.metrics()["counters"]["expired_rows_total"] == 2_500

    story(told)


def test_what_fell_due_while_the_node_was_down_is_gone_before_it_serves(tmp_path: Path) -> None:
    async def told() -> None:
        at_ms = soon_ms(200)
        async with running(tmp_path) as engine:
            await engine.put(KV, b"brief", cells(b"v", 0, at_ms))
        await until_async(lambda: soon_ms(0) >= at_ms, "the deadline")
        async with running(tmp_path) as engine:
            assert engine.get(KV, b"brief") is None

    story(told)


def test_silence_ends_a_lease_and_a_heartbeat_writes_nothing(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path) as engine:
            await engine.put(SERVICES, b"web", cells("web", [], 400))
            await engine.put(SERVICES, b"lasting", cells("lasting", []))
            for _ in range(5):
                await engine.renew(SERVICES, b"web")
                left_ms = engine.lease_ms(SERVICES, b"web")
                assert left_ms is not None
                assert left_ms <= 400
            assert engine.status()["index"] == 2
            await until_async(lambda: engine.get(SERVICES, b"web") is None, "the lease to end")
            assert engine.get(SERVICES, b"lasting") is not None
            assert (engine.status()["index"], engine.status()["leases"]) == (3, 0)
            for key in (b"web", b"lasting", b"never"):
                with pytest.raises(NotFound):
                    await engine.renew(SERVICES, key)
                assert engine.lease_ms(SERVICES, key) is None

    story(told)


def test_a_new_write_is_a_new_lease(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path, backend="memory") as engine:
            await engine.put(SERVICES, b"web", cells("web", [], 60_000))
            await engine.put(SERVICES, b"web", cells("web", [], 100))
            await until_async(lambda: engine.get(SERVICES, b"web") is None, "the shorter lease to end")
            await engine.put(SERVICES, b"web", cells("web", [], 100))
            await engine.put(SERVICES, b"web", cells("web", []))
            assert engine.lease_ms(SERVICES, b"web") is None

    story(told)


def test_a_restart_grants_every_lease_its_full_length(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path) as engine:
            await engine.put(SERVICES, b"web", cells("web", [], 60_000))
            await until_async(lambda: (engine.lease_ms(SERVICES, b"web") or 0) < 59_900, "time to pass")
        async with running(tmp_path) as engine:
            assert (engine.lease_ms(SERVICES, b"web") or 0) > 59_900
            await engine.renew(SERVICES, b"web")

    story(told)
