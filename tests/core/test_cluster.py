"""Three nodes through the engine: forming, writing and reading anywhere, losing the leader."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from konsul.calls import Caller
from konsul.engine import Engine
from konsul.errors import Conflict, Invalid, NoLeader, NotFound, Timeout, TooLarge, Unreachable, Unsupported
from tests.core.node import FLAGS, KV, SCHEMA, SERVICES, case, cells, running, story
from tests.core.trio import LONG_MS, leader_of, member_options, settled, trio
from tests.waiting import until_async

BACKENDS = pytest.mark.parametrize("backend", ["durable", "memory"])
COUNT = case([], [[2, KV, b"n", FLAGS, 1, None]])


def counted(engine: Engine) -> int:
    row = engine.get(KV, b"n")
    return 0 if row is None else int(row.cells[FLAGS])


def test_a_lone_node_has_no_cluster(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path) as engine:
            assert engine.is_current()
            await engine.put(KV, b"a", cells(b"v"))
            assert engine.contact() == (True, 0, 1)
            assert engine.cluster() == {}
            await engine.wait_index(1)
            with pytest.raises(Timeout):
                await engine.wait_index(2, timeout_ms=1)
            for refused in (engine.bootstrap(), engine.transfer(), engine.call(1, "hello", {})):
                with pytest.raises(Unsupported, match="clustering is not enabled"):
                    await refused

    story(told)


def test_a_fresh_member_says_that_it_has_not_joined(tmp_path: Path) -> None:
    async def told() -> None:
        engine = Engine(member_options(tmp_path, "n1"))
        await engine.start(SCHEMA)
        try:
            assert engine.cluster()["state"] == "unformed"
            assert not engine.is_current()
            assert engine.contact()[0] is False
            for refused in (engine.put(KV, b"a", cells(b"v")), engine.barrier("default")):
                with pytest.raises(NoLeader):
                    await refused
            with pytest.raises(NoLeader):
                engine.get(KV, b"a")
            with pytest.raises(Invalid, match="16 hex"):
                await engine.adopt("nonsense")
        finally:
            await engine.stop(0)

    story(told)


@BACKENDS
def test_every_node_takes_writes_and_answers_every_kind_of_read(tmp_path: Path, backend: str) -> None:
    async def told() -> None:
        async with trio(tmp_path, backend=backend) as engines:
            for n, engine in enumerate(engines):
                applied = await engine.put(KV, b"k%d" % n, cells(b"from %d" % n))
                assert engine.get(KV, b"k%d" % n) is not None, "its own write is in its own tables"
                assert engine.contact()[2] >= applied.index
                for reader in engines:
                    await reader.barrier("linearizable")
                    assert reader.get(KV, b"k%d" % n) is not None
            last = await engines[2].put(KV, b"k0", cells(b"newer"))
            for reader in engines:
                await reader.barrier("default")
                row = reader.get(KV, b"k0")
                assert row is not None
                assert row.cells[0] == b"newer"
                await reader.wait_index(last.index)
            assert [engine.is_current() for engine in engines] == [True, False, False]
            assert await settled(engines)

    story(told)


def test_a_follower_passes_on_what_the_leader_says(tmp_path: Path) -> None:
    async def told() -> None:
        async with trio(tmp_path, backend="memory") as (_, follower, other):
            first = await follower.put(KV, b"a", cells(b"v"), at=0)
            with pytest.raises(Conflict) as conflict:
                await other.put(KV, b"a", cells(b"w"), at=0)
            assert (conflict.value.current, conflict.value.key) == (first.index, b"a")
            with pytest.raises(NotFound):
                await follower.commit(case([], [[1, KV, b"absent", [[FLAGS, 1]]]]))
            await other.put(SERVICES, b"web", cells("web", [], 60_000))
            assert follower.lease_ms(SERVICES, b"web") is None
            await follower.renew(SERVICES, b"web")
            with pytest.raises(NotFound):
                await follower.renew(SERVICES, b"db")

    story(told)


def test_a_request_is_applied_once_whichever_node_is_asked(tmp_path: Path) -> None:
    async def told() -> None:
        async with trio(tmp_path, backend="memory") as engines:
            request = b"0123456789abcdef"
            answers = [await engine.commit(COUNT, request_id=request) for engine in engines * 2]
            assert len(set(answers)) == 1
            await settled(engines)
            assert [counted(engine) for engine in engines] == [1, 1, 1]

    story(told)


@BACKENDS
def test_writes_in_flight_survive_their_leader_and_are_applied_once(tmp_path: Path, backend: str) -> None:
    async def told() -> None:
        async with trio(tmp_path, backend=backend) as engines:
            leader, *rest = engines
            writes = [
                asyncio.ensure_future(rest[n % 2].commit(COUNT, timeout_ms=LONG_MS)) for n in range(200)
            ]
            await until_async(lambda: any(write.done() for write in writes), "the first answers")
            await leader.stop(0)
            indices = {applied.index for applied in await asyncio.gather(*writes)}
            assert len(indices) == 200
            await settled(rest)
            assert [counted(engine) for engine in rest] == [200, 200]
            assert await leader_of(rest)

    story(told)


def test_without_a_quorum_nobody_is_told_that_it_went_well(tmp_path: Path) -> None:
    async def told() -> None:
        async with trio(tmp_path, backend="memory") as engines:
            await engines[0].put(KV, b"a", cells(b"v"))
            for gone in engines[:2]:
                await gone.stop(0)
            last = engines[2]
            await until_async(lambda: not last.contact()[0], "the loss to be noticed")
            for refused in (last.put(KV, b"a", cells(b"w"), timeout_ms=LONG_MS), last.barrier("default")):
                with pytest.raises(NoLeader):
                    await refused
            row = last.get(KV, b"a")
            assert row is not None
            assert row.cells[0] == b"v", "a stale read still works"

    story(told)


def test_leadership_is_handed_over_without_losing_a_write(tmp_path: Path) -> None:
    async def told() -> None:
        async with trio(tmp_path, backend="memory") as engines:
            writes = [
                asyncio.ensure_future(engines[n % 3].commit(COUNT, LONG_MS, n.to_bytes(16)))
                for n in range(300)
            ]
            to = engines[1].cluster()["raft_id"]
            await engines[0].transfer(to)
            assert await leader_of(engines) is engines[1]
            await asyncio.gather(*writes)
            await settled(engines)
            assert counted(engines[2]) == 300
            with pytest.raises(NoLeader):
                await engines[0].transfer(to)

    story(told)


def test_nodes_ask_each_other_and_errors_travel_back(tmp_path: Path) -> None:
    async def told() -> None:
        async with trio(tmp_path, backend="memory") as (asking, asked, _):

            async def double(caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
                if body["n"] < 0:
                    raise Conflict("below zero")
                return {"n": 2 * body["n"], "by": caller.raft_id}

            async def broken(caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
                raise RuntimeError("secret")

            asked.handlers["double"] = double
            asked.handlers["broken"] = broken
            target = asked.cluster()["raft_id"]
            answers = await asyncio.gather(*(asking.call(target, "double", {"n": n}) for n in range(40)))
            assert answers == [{"n": 2 * n, "by": asking.cluster()["raft_id"]} for n in range(40)]
            with pytest.raises(Conflict, match="below zero"):
                await asking.call(target, "double", {"n": -1})
            with pytest.raises(NotFound, match="does not answer"):
                await asking.call(target, "unheard", {})
            with pytest.raises(Exception, match="failed here: RuntimeError") as failed:
                await asking.call(target, "broken", {})
            assert "secret" not in str(failed.value)
            with pytest.raises((Invalid, TooLarge)):
                await asking.call(target, "double", {"n": 1, "more": b"x" * (1 << 20)})
            with pytest.raises(Unreachable):
                await asking.call("127.0.0.1:1", "double", {"n": 1}, 2_000)

    story(told)
