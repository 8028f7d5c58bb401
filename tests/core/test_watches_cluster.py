"""Watches of a cluster: the same on every node, without its leader, after a snapshot; and the cluster's."""

from __future__ import annotations

from pathlib import Path

from konsul.engine import Engine
from tests.core.node import KV, SCHEMA, SERVICES, cells, story
from tests.core.trio import LONG_MS, leader_of, member_options, take_in, trio
from tests.core.watcher import CLUSTER, COMPACTED, EVENT, Watcher
from tests.waiting import until_async


async def put(engine: Engine, key: str) -> int:
    """Writes a key; its index."""
    return (await engine.put(KV, key.encode(), cells(b"v"), timeout_ms=LONG_MS)).index


def test_every_node_tells_the_same_also_across_a_lost_leader(tmp_path: Path) -> None:
    async def told() -> None:
        async with trio(tmp_path, backend="memory") as engines:
            watchers = [Watcher(engine) for engine in engines]
            watches = [watcher.open("a/*") for watcher in watchers]
            first = [await put(engines[n % 3], f"a/{n}") for n in range(30)]
            await watchers[0].until(watches[0], 30)
            resume = watchers[0].told[watches[0]][19].index
            await engines[0].stop(0)
            rest = engines[1:]
            await leader_of(rest)
            written = first + [await put(rest[n % 2], f"a/{n}") for n in range(30)]
            resumed = watchers[1].open("a/*", since=resume)
            expected = [(index, f"a/{n % 30}") for n, index in enumerate(written)]
            for watcher, watch in zip(watchers[1:], watches[1:], strict=True):
                await watcher.until(watch, 60)
                assert watcher.events(watch) == expected
            await watchers[1].until(resumed, 40)
            assert watchers[1].events(resumed) == expected[20:]
            assert watchers[0].events(watches[0]) == expected[:30]

    story(told)


def test_a_heartbeat_is_told_by_the_leader_whichever_node_took_it(tmp_path: Path) -> None:
    async def told() -> None:
        async with trio(tmp_path, backend="memory") as engines:
            watcher = Watcher(engines[0])
            watch = watcher.open("web *", SERVICES, renewals=True)
            await engines[1].put(SERVICES, b"web 1", cells("web", [], 60_000))
            await engines[2].renew(SERVICES, b"web 1")
            await watcher.until(watch, 2)
            assert watcher.words(watch) == [("register", "web 1"), ("heartbeat", "web 1")]

    story(told)


def test_the_cluster_tells_who_leads_and_who_belongs(tmp_path: Path) -> None:
    async def told() -> None:
        async with trio(tmp_path, backend="memory") as engines:
            watcher = Watcher(engines[1])
            leaders, members = watcher.open("leader", CLUSTER), watcher.open("members", CLUSTER)
            second = engines[1].cluster()["raft_id"]
            await engines[0].transfer(second)
            named = {"type": "leader", "leader": "n2", "raft_id": second}

            def knows() -> bool:
                last = watcher.told[leaders][-1].json if watcher.told[leaders] else {}
                return last == named | {"term": last.get("term")} and last["term"] > 0

            await until_async(knows, "the new leader to be told")
            await leader_of(engines)
            fresh = Engine(member_options(tmp_path / "n4", "n4", backend="memory"))
            await fresh.start(SCHEMA)
            try:
                await take_in(engines[1], fresh)
                await watcher.until(members, 2)
            finally:
                await fresh.stop(0)
            added, promoted = (told.json["members"] for told in watcher.told[members][:2])
            assert [member["node_id"] for member in added].count("n4") == 1
            roles = [{m["node_id"]: m["role"] for m in found}["n4"] for found in (added, promoted)]
            assert roles == ["learner", "voter"]

    story(told)


def test_who_was_brought_up_to_date_by_a_snapshot_says_list_again(tmp_path: Path) -> None:
    async def told() -> None:
        quick = {"snapshot_threshold_entries": 20, "snapshot_interval_ms": 10, "trailing_entries": 5}
        async with trio(tmp_path, **quick) as engines:
            for number in range(100):
                await put(engines[0], f"a/{number}")
            await until_async(
                lambda: engines[0].metrics()["counters"]["raft_snapshot_total"] > 0, "a snapshot"
            )
            fresh = Engine(member_options(tmp_path / "n4", "n4", **quick))
            await fresh.start(SCHEMA)
            try:
                watcher = Watcher(fresh)
                watch = watcher.open("a/*")
                await take_in(engines[0], fresh)
                await until_async(lambda: COMPACTED in watcher.kinds(watch), "the snapshot's notice")
                index = await put(fresh, "a/later")
                await until_async(lambda: (index, "a/later") in watcher.events(watch), "what is newer")
                counters = fresh.metrics()["counters"]
                assert counters["raft_snapshots_installed_total"] > 0
                last = max(n for n, kind in enumerate(watcher.kinds(watch)) if kind == COMPACTED)
                floor = watcher.told[watch][last].index
                assert floor >= 80
                after = watcher.told[watch][last + 1 :]
                assert {told.kind for told in after} == {EVENT}
                indexes = [told.index for told in after]
                assert indexes == sorted(set(indexes))
                assert indexes[0] > floor
            finally:
                await fresh.stop(0)

    story(told)
