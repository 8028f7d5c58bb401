"""Watches of one node: every matching change, in order, once; and what is said when that cannot be."""

from __future__ import annotations

import asyncio
import select
from pathlib import Path

import msgpack
import orjson
import pytest

from konsul.engine import Engine
from konsul.errors import Invalid, TooMany
from tests.core.node import KV, SERVICES, TAGS, case, cells, running, soon_ms, story
from tests.core.watcher import BEHIND, COMPACTED, EVENT, KV_FORM, Watcher
from tests.waiting import until_async

pytestmark = pytest.mark.filterwarnings("error")
OP_DELETE, OP_DELETE_PREFIX = 3, 4


async def put(engine: Engine, key: str, value: bytes = b"v") -> int:
    """Writes a key; its index."""
    return (await engine.put(KV, key.encode(), cells(value))).index


async def delete(engine: Engine, key: str) -> int:
    """Deletes a key; the index."""
    return (await engine.commit(case([], [[OP_DELETE, KV, key.encode()]]))).index


async def register(engine: Engine, key: str, tags: list[str], ttl_ms: int | None = 60_000) -> int:
    """Writes an instance; its index."""
    row = cells(key.split(" ")[0], tags, ttl_ms)
    return (await engine.put(SERVICES, key.encode(), row)).index


def test_each_is_told_its_changes_once_and_in_order(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path) as engine:
            watcher = Watcher(engine)
            patterns = {"a/*": 0, "**": 0, "a/3": 0, "*/1": 0, "c/**": 0}
            for pattern in patterns:
                patterns[pattern] = watcher.open(pattern)
            written: list[tuple[int, str]] = []

            async def write(prefix: str) -> None:
                for number in range(100):
                    key = f"{prefix}/{number % 7}"
                    written.append((await put(engine, key, b"%d" % number), key))

            await asyncio.gather(*(write(prefix) for prefix in "ab"))
            await watcher.settled(*patterns.values())
            written.sort()
            expected = {
                "**": written,
                "a/*": [entry for entry in written if entry[1].startswith("a/")],
                "a/3": [entry for entry in written if entry[1] == "a/3"],
                "*/1": [entry for entry in written if entry[1].endswith("/1")],
                "c/**": [],
            }
            for pattern, watch in patterns.items():
                assert watcher.events(watch) == expected[pattern], pattern

    story(told)


def test_a_change_is_told_with_the_row_before_it(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path) as engine:
            watcher = Watcher(engine)
            first, second = watcher.open("**"), watcher.open("k*")
            one = await put(engine, "k", b"one")
            two = await put(engine, "k", b"\xff\x00")
            gone = await delete(engine, "k")
            await watcher.settled(first, second)
            seen = [told.json for told in watcher.told[first]]
            for event in seen:
                assert isinstance(event.pop("timestamp"), int)
            assert seen == [
                {"type": "set", "key": "k", "value": "one", "modify_index": one},
                {
                    "type": "set",
                    "key": "k",
                    "value": "/wA=",
                    "encoding": "base64",
                    "old_value": "one",
                    "modify_index": two,
                },
                {
                    "type": "delete",
                    "key": "k",
                    "old_value": "/wA=",
                    "old_value_encoding": "base64",
                    "modify_index": gone,
                },
            ]
            shared = zip(watcher.told[first], watcher.told[second], strict=True)
            assert all(mine.payload is other.payload for mine, other in shared), "one object for all"

    story(told)


def test_an_entry_of_several_changes_tells_each_of_them(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path) as engine:
            watcher = Watcher(engine)
            for number in range(5):
                await put(engine, f"a/{number}")
            watch = watcher.open("a/**")
            index = (await engine.commit(case([], [[OP_DELETE_PREFIX, KV, b"a/"]]))).index
            await watcher.settled(watch)
            assert watcher.events(watch) == [(index, f"a/{number}") for number in range(5)]

    story(told)


def test_who_comes_back_goes_on_where_it_stopped(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path) as engine:
            watcher = Watcher(engine)
            indexes = [await put(engine, f"a/{number}") for number in range(10)]
            await put(engine, "b/1")
            watch = watcher.open("a/*", since=indexes[3])
            ahead = watcher.open("a/*", since=indexes[-1] + 3)
            later = [await put(engine, f"a/{number}") for number in range(3)]
            await watcher.settled(watch, ahead)
            assert [index for index, _ in watcher.events(watch)] == indexes[4:] + later
            assert [index for index, _ in watcher.events(ahead)] == [
                index for index in later if index > indexes[-1] + 3
            ]
            assert set(watcher.kinds(watch)) == {EVENT}

    story(told)


def test_after_a_restart_who_comes_back_is_told_to_list_again(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path) as engine:
            first = await put(engine, "a/1")
            floor = await put(engine, "a/2")
        async with running(tmp_path) as engine:
            watcher = Watcher(engine)
            late, current = watcher.open("a/*", since=first), watcher.open("a/*", since=floor)
            index = await put(engine, "a/3")
            await watcher.until(late, 2)
            assert watcher.kinds(late) == [COMPACTED, EVENT]
            assert watcher.told[late][0].index == floor
            assert watcher.events(late) == [(index, "a/3")]
            await watcher.settled(current)
            assert watcher.kinds(current) == [EVENT]

    story(told)


def test_a_slow_reader_is_told_so_and_then_everything(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path) as engine:
            watcher = Watcher(engine)
            slow, quick = watcher.open("a/*", buffer=10), watcher.open("a/*", buffer=10)
            engine.core.pause_watch(slow)
            indexes = [await put(engine, f"a/{number}") for number in range(50)]
            await watcher.settled(quick)
            assert [index for index, _ in watcher.events(quick)] == indexes
            await watcher.until(slow, 1)
            assert watcher.kinds(slow) == [BEHIND]
            engine.core.resume_watch(slow)
            indexes.append(await put(engine, "a/x"))
            await watcher.settled(slow)
            assert [index for index, _ in watcher.events(slow)] == indexes
            assert engine.metrics()["watch"]["behind"] == 1

    story(told)


def test_a_paused_watch_wakes_nobody(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path, backend="memory") as engine:
            watcher = Watcher(engine)
            watch, late = watcher.open("a/*"), watcher.open("a/*", buffer=1)
            engine.core.pause_watch(watch)
            engine.core.pause_watch(late)
            for number in range(5):
                await put(engine, f"a/{number}")
            await watcher.until(late, 1)
            assert engine.core.reap(10) == []
            assert select.select([engine.core.fileno()], [], [], 0)[0] == []
            assert engine.core.watched(10) == []
            assert watcher.told[watch] == []

    story(told)


def test_a_reader_too_slow_for_the_ring_is_told_what_it_lost(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path, watch_ring_entries=20) as engine:
            watcher = Watcher(engine)
            slow = watcher.open("a/*", buffer=10)
            engine.core.pause_watch(slow)
            indexes = [await put(engine, f"a/{number}") for number in range(100)]
            engine.core.resume_watch(slow)
            await watcher.settled(slow)
            kinds = watcher.kinds(slow)
            assert kinds.count(COMPACTED) == 1, "said once"
            lost_to = next(told.index for told in watcher.told[slow] if told.kind == COMPACTED)
            after = kinds.index(COMPACTED)
            seen = [told.index for told in watcher.told[slow][after:] if told.kind == EVENT]
            assert seen == [index for index in indexes if index > lost_to]
            assert engine.metrics()["watch"]["compacted"] == 1

    story(told)


def test_of_the_changes_of_a_key_that_wait_only_the_newest_is_told_if_wished(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path) as engine:
            watcher = Watcher(engine)
            await put(engine, "a/1", b"first")
            watch = watcher.open("a/*", coalesce=True)
            engine.core.pause_watch(watch)
            for number in range(5):
                await put(engine, "a/1", b"%d" % number)
            other = await put(engine, "a/2", b"x")
            last = await put(engine, "a/1", b"last")
            engine.core.resume_watch(watch)
            await watcher.settled(watch)
            assert watcher.events(watch) == [(other, "a/2"), (last, "a/1")]
            newest = watcher.told[watch][1].json
            assert (newest["value"], newest["old_value"]) == ("last", "first")

    story(told)


def test_instances_are_found_by_name_and_by_tag_before_and_after(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path) as engine:
            watcher = Watcher(engine)
            web = watcher.open("web *", SERVICES)
            tagged = watcher.open("**", SERVICES, where=[[TAGS, b"blue"]])
            await register(engine, "web 1", ["blue"])
            await register(engine, "db 1", ["red"])
            await register(engine, "web 1", ["red"])
            await register(engine, "web 1", ["red", "x"])
            await register(engine, "db 1", ["green", "blue"])
            await watcher.settled(web, tagged)
            assert watcher.words(web) == [("register", "web 1")] + [("update", "web 1")] * 2
            assert watcher.words(tagged) == [("register", "web 1"), ("update", "web 1"), ("update", "db 1")]
            payload = watcher.told[web][0].json
            assert payload["service"] == {"key": "web 1", "name": "web", "tags": ["blue"]}

    story(told)


def test_a_lapse_is_told_apart_from_a_deletion(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path) as engine:
            watcher = Watcher(engine)
            services, keys = watcher.open("**", SERVICES), watcher.open("**")
            await register(engine, "web 1", [], ttl_ms=1)
            await register(engine, "web 2", [])
            await engine.commit(case([], [[OP_DELETE, SERVICES, b"web 2"]]))
            await engine.put(KV, b"brief", cells(b"v", 0, soon_ms(1)))
            await until_async(lambda: ("lapse", "brief") in watcher.words(keys), "the key's end")
            await until_async(lambda: ("expired", "web 1") in watcher.words(services), "the lease's end")
            assert ("deregister", "web 2") in watcher.words(services)
            assert len(watcher.words(services)) == 4
            assert watcher.told[services][0].json["service"]["name"] == "web"

    story(told)


def test_heartbeats_are_told_to_who_asks_for_them(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path) as engine:
            watcher = Watcher(engine)
            plain, live = watcher.open("**", SERVICES), watcher.open("**", SERVICES, renewals=True)
            index = await register(engine, "web 1", ["blue"])
            await engine.renew(SERVICES, b"web 1")
            await watcher.until(live, 2)
            assert watcher.words(live) == [("register", "web 1"), ("heartbeat", "web 1")]
            assert watcher.told[live][1].json["modify_index"] == index
            engine.core.unwatch(live)
            await engine.renew(SERVICES, b"web 1")
            await register(engine, "web 1", ["red"])
            await watcher.until(plain, 2)
            assert watcher.words(plain) == [("register", "web 1"), ("update", "web 1")]
            assert len(watcher.told[live]) == 2

    story(told)


def test_there_are_as_many_watches_as_there_may_be(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path, watchers_max=3) as engine:
            watcher = Watcher(engine)
            watches = [watcher.open("a/*") for _ in range(3)]
            with pytest.raises(TooMany, match="3"):
                watcher.open("a/*")
            figures = engine.metrics()["watch"]
            assert (figures["watchers"], figures["by_table"]) == (3, {str(KV): 3})
            engine.core.unwatch(watches[0])
            engine.core.unwatch(watches[0])
            again = watcher.open("a/*")
            await put(engine, "a/1")
            await watcher.settled(again, *watches[1:])
            assert [len(watcher.told[watch]) for watch in [*watches, again]] == [0, 1, 1, 1]
            assert engine.core.watch_position(watches[0]) is None

    story(told)


@pytest.mark.parametrize(
    "spec",
    [
        {"pattern": ""},
        {"pattern": "a" * 1_025},
        {"pattern": b"\xff"},
        {"where": [[0, b"x"]] * 65},
        {"where": [[0, b"x" * 1_025]]},
        {"buffer": 0},
        {"separator": 300},
        {"where": [[1]]},
        {"where": [[900, b"x"]]},
        {"renewals": 1},
        {"separator": 200},
        {"buffer": 100_000},
        {"other": 1},
    ],
)
def test_what_cannot_be_watched_is_refused(tmp_path: Path, spec: dict[str, object]) -> None:
    async def told() -> None:
        async with running(tmp_path, backend="memory") as engine:
            watcher = Watcher(engine)
            with pytest.raises(Invalid):
                watcher.open(**({"pattern": "a"} | spec))  # type: ignore[arg-type]
            assert engine.metrics()["watch"]["watchers"] == 0

    story(told)


def test_a_specification_that_is_none_is_refused(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path, backend="memory") as engine:
            for wrong in (b"", b"\xc1", msgpack.packb([1]), msgpack.packb({"table": KV}), b"\x80"):
                with pytest.raises(Invalid):
                    engine.watch(KV_FORM, wrong)

    story(told)


def test_ten_thousand_hear_of_one_change_in_pieces(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path, backend="memory") as engine:
            watcher = Watcher(engine)
            pieces: list[int] = []
            take = engine.on_watched

            def count(seen: list[tuple[int, int, int, bytes, bytes]]) -> None:
                pieces.append(len(seen))
                assert take is not None
                take(seen)

            engine.on_watched = count
            watches = [watcher.open("a/*") for _ in range(10_000)]
            index = await put(engine, "a/1")
            await until_async(lambda: sum(pieces) >= 10_000, "all to be told")
            assert all(watcher.events(watch) == [(index, "a/1")] for watch in watches)
            assert max(pieces) <= 1_024, "the loop serves others in between"

    story(told)


def test_a_stopped_node_has_no_watches(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path, backend="memory") as engine:
            watcher = Watcher(engine)
            watch = watcher.open("**")
            await put(engine, "a", orjson.dumps("x"))
            await watcher.settled(watch)
        engine.core.unwatch(watch)
        engine.core.resume_watch(watch)
        assert engine.core.watch_position(watch) is None
        assert engine.core.watched(10) == []

    story(told)
