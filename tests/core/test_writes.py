"""Writes and reads through the engine: what is applied, what is refused, what a reader sees."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from konsul.engine import Applied, Engine, Row
from konsul.errors import (
    Conflict,
    Invalid,
    KonsulError,
    NotFound,
    TooLarge,
    Unsupported,
)
from tests.core.node import FLAGS, KV, KV_SHAPE, NAME, SERVICES, TAGS, case, cells, running, story

BACKENDS = pytest.mark.parametrize("backend", ["durable", "memory"])


@BACKENDS
def test_a_put_is_there_when_it_is_answered(tmp_path: Path, backend: str) -> None:
    async def told() -> None:
        async with running(tmp_path, backend=backend) as engine:
            assert await engine.put(KV, b"a", cells(b"one", 7)) == Applied(1, 0)
            assert engine.get(KV, b"a") == Row(1, 1, [b"one", 7, None])
            assert engine.get_json(KV_SHAPE, b"a") == b'{"key":"a","value":"one","flags":7,"modify_index":1}'
            assert (engine.count(KV), engine.get(KV, b"b"), engine.get_json(KV_SHAPE, b"b")) == (
                1,
                None,
                None,
            )
            assert await engine.put(KV, b"a", cells(b"two")) == Applied(2, 0)
            assert engine.get(KV, b"a") == Row(1, 2, [b"two", 0, None])

    story(told)


@BACKENDS
def test_compare_and_set_tells_what_is_there(tmp_path: Path, backend: str) -> None:
    async def told() -> None:
        async with running(tmp_path, backend=backend) as engine:
            await engine.put(KV, b"a", cells(b"one"), at=0)
            with pytest.raises(Conflict) as refused:
                await engine.put(KV, b"a", cells(b"two"), at=0)
            assert (refused.value.key, refused.value.current) == (b"a", 1)
            with pytest.raises(Conflict) as refused:
                await engine.put(KV, b"none", cells(b"two"), at=9)
            assert (refused.value.key, refused.value.current) == (b"none", 0)
            assert await engine.put(KV, b"a", cells(b"two"), at=1) == Applied(2, 0)

    story(told)


def test_the_first_case_that_holds_is_applied_whole(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path, backend="memory") as engine:
            puts = [[0, KV, b"a", [b"1"]], [0, KV, b"b", [b"2"]]]
            assert await engine.commit(case([[1, KV, b"a"]], puts)) == Applied(1, 0)
            rows = [engine.get(KV, key) for key in (b"a", b"b")]
            assert [row and row.modify_index for row in rows] == [1, 1]
            with pytest.raises(NotFound):
                await engine.commit(case([], [[0, KV, b"c", [b"3"]], [1, KV, b"nowhere", [[0, b"4"]]]]))
            assert engine.get(KV, b"c") is None
            assert engine.status()["index"] == 1

    story(told)


def test_what_cannot_enter_the_log_is_refused_at_once(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path, backend="memory") as engine:
            wrong: list[tuple[type[KonsulError], Callable[[], Awaitable[Any]]]] = [
                (Invalid, lambda: engine.commit(b"")),
                (Invalid, lambda: engine.commit(b"\xc1")),
                (Invalid, lambda: engine.put(KV, b"", cells(b"v"))),
                (Invalid, lambda: engine.put(KV, b"a", cells(["a list, not bytes"]))),
                (TooLarge, lambda: engine.put(KV, b"k" * 1025, cells(b"v"))),
                (Unsupported, lambda: engine.put(99, b"a", cells(b"v"))),
                (Invalid, lambda: engine.barrier("sometimes")),  # type: ignore[arg-type]
            ]
            for kind, attempt in wrong:
                with pytest.raises(kind):
                    await attempt()
            assert engine.status()["raft"]["last_index"] == engine.status()["raft"]["applied_index"]
            assert engine.status()["index"] == 0

    story(told)


@BACKENDS
def test_scans_page_through_prefixes_and_indexes(tmp_path: Path, backend: str) -> None:
    async def told() -> None:
        async with running(tmp_path, backend=backend) as engine:
            for n in range(5):
                tags = ["even"] if n % 2 == 0 else ["odd", "all"]
                await engine.put(SERVICES, b"web/%d" % n, cells("web", tags))
            await engine.put(SERVICES, b"db/0", cells("db", ["even"]))
            first = engine.scan(SERVICES, b"web/", limit=3)
            assert [key for key, _ in first.rows] == [b"web/0", b"web/1", b"web/2"]
            assert first.after == b"web/2"
            rest = engine.scan(SERVICES, b"web/", after=first.after, limit=3)
            assert ([key for key, _ in rest.rows], rest.after) == ([b"web/3", b"web/4"], None)
            both = engine.scan(SERVICES, where=[(NAME, b"web"), (TAGS, b"even")])
            assert [key for key, _ in both.rows] == [b"web/0", b"web/2", b"web/4"]
            with pytest.raises(Unsupported):
                engine.scan(SERVICES, where=[(2, b"10")])
            with pytest.raises(Invalid):
                engine.scan(SERVICES, limit=10_001)
            with pytest.raises(Unsupported):
                engine.get(99, b"a")

    story(told)


def test_json_pages_and_folded_keys(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path, backend="memory") as engine:
            for key in (b"a/1", b"a/2", b"b", b"c/x/y"):
                await engine.put(KV, key, cells(b"\xff" if key == b"b" else b"v"))
            assert engine.keys_json(KV, separator=b"/") == (b'["a/","b","c/"]', 3, None)
            assert engine.keys_json(KV, b"a/", limit=1) == (b'["a/1"]', 1, b"a/1")
            text = b'[{"key":"b","value":"/w==","encoding":"base64","modify_index":3}]'
            assert engine.scan_json(KV_SHAPE, b"b") == (text, 1, None)

    story(told)


def test_many_writers_at_once_each_get_an_index_of_their_own(tmp_path: Path) -> None:
    async def write(engine: Engine, n: int) -> list[int]:
        return [(await engine.put(KV, b"%d/%d" % (n, i), cells(b"v"))).index for i in range(20)]

    async def told() -> None:
        async with running(tmp_path) as engine:
            lists = await asyncio.gather(*(write(engine, n) for n in range(50)))
            indexes = [index for each in lists for index in each]
            assert sorted(indexes) == list(range(1, 1001))
            assert all(each == sorted(each) for each in lists)
            assert engine.count(KV) == 1000
            counters = engine.metrics()["counters"]
            assert counters["raft_apply_total"] == 1001
            # Packing: far fewer log entries than writes, since all that wait travel together.
            assert counters["raft_log_entries_total"] < 500

    story(told)


def test_a_large_value_travels_alone(tmp_path: Path) -> None:
    async def told() -> None:
        value = bytes(5 << 20)
        async with running(tmp_path, inflight_max_bytes=1 << 20) as engine:
            await engine.put(KV, b"large", cells(value))
            row = engine.get(KV, b"large")
            assert row is not None
            assert row.cells[0] == value

    story(told)


def test_barriers_answer_on_a_leader(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path, backend="memory") as engine:
            await engine.barrier("default")
            await asyncio.gather(*(engine.barrier("linearizable") for _ in range(20)))

    story(told)


def test_a_request_is_applied_once_however_often_it_comes(tmp_path: Path) -> None:
    async def told() -> None:
        request = bytes(range(16))
        add = case([], [[2, KV, b"n", FLAGS, 1, None]])
        async with running(tmp_path) as engine:
            first = await engine.commit(add, request_id=request)
            assert await engine.commit(add, request_id=request) == first
            assert await engine.put(KV, b"other", cells(b"v"), request_id=request) == first
            assert engine.get(KV, b"other") is None
            with pytest.raises(Invalid, match="16 bytes"):
                await engine.commit(add, request_id=b"short")
            await engine.snapshot()
        async with running(tmp_path) as engine:
            assert await engine.commit(add, request_id=request) == first
            row = engine.get(KV, b"n")
            assert row is not None
            assert row.cells[FLAGS] == 1

    story(told)
