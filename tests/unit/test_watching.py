"""What the kernel adds to the core's watches: sinks, pauses, limits, permissions, iterators."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from konsul.engine import Engine, Watched
from konsul.errors import Forbidden, Internal, Invalid, KonsulError, Stopping, TooMany, Unauthenticated
from konsul.kernel.config import Config
from konsul.kernel.context import Context
from konsul.kernel.pipeline import ANONYMOUS, Identity, Pipeline
from konsul.kernel.watch_settings import WatchSettings
from konsul.kernel.watching import INSIDE, Behind, Compacted, Event, Spec, Watching

SPEC = Spec(None, 1, "a/*")
PAYLOAD = b'{"type":"set","key":"a/1"}'


class FakeCore:
    """Notes what is asked of it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.position: int | None = 0

    def unwatch(self, watch: int) -> None:
        self.calls.append(("unwatch", watch))

    def pause_watch(self, watch: int) -> None:
        self.calls.append(("pause", watch))

    def resume_watch(self, watch: int) -> None:
        self.calls.append(("resume", watch))

    def watch_position(self, watch: int) -> int | None:  # noqa: ARG002 - one for all
        return self.position


class FakeEngine:
    """Gives out numbers; `tell` is the core's word."""

    def __init__(self) -> None:
        self.core = FakeCore()
        self.on_watched: Callable[[list[Watched]], None] | None = None
        self.refusal: KonsulError | None = None
        self.last = 0

    def watch(self, form: object, spec: bytes, since: int | None) -> int:  # noqa: ARG002 - the real one's
        if self.refusal is not None:
            raise self.refusal
        self.last += 1
        return self.last

    def tell(self, *seen: Watched) -> None:
        assert self.on_watched is not None
        self.on_watched(list(seen))


class Noting:
    """A sink that notes what it is told and has room for `room` changes."""

    def __init__(self, room: int = 1_000) -> None:
        self.room = room
        self.told: list[tuple[Any, ...]] = []

    def event(self, index: int, key: bytes, payload: bytes) -> bool:
        self.told.append(("event", index, key, payload))
        self.room -= 1
        return self.room > 0

    def behind(self, index: int) -> None:
        self.told.append(("behind", index))

    def compacted(self, index: int) -> None:
        self.told.append(("compacted", index))

    def ended(self, error: KonsulError) -> None:
        self.told.append(("ended", type(error)))

    def indexes(self) -> list[int]:
        return [told[1] for told in self.told if told[0] == "event"]


def change(watch: int, index: int, key: bytes = b"a/1", payload: bytes = PAYLOAD) -> Watched:
    """A change as the core tells it."""
    return (watch, 0, index, key, payload)


class Bench:
    """A Watching over a fake engine."""

    def __init__(self, **limits: int) -> None:
        self.engine = FakeEngine()
        self.pipeline = Pipeline()
        self.watching = Watching(cast(Engine, self.engine), self.pipeline, WatchSettings(**cast(Any, limits)))

    def context(self, identity: Identity = ANONYMOUS, address: str = "192.0.2.1") -> Context:
        return Context(cast(Engine, self.engine), Config(()), identity, "r", address, self.pipeline)


def test_a_full_sink_gets_nothing_before_it_resumes_and_then_all_in_order() -> None:
    bench, sink, other = Bench(), Noting(room=2), Noting()
    watch = bench.watching.open(bench.context(), SPEC, sink, transport="sse")
    bench.watching.open(bench.context(), SPEC, other, transport="sse")
    bench.engine.tell(
        *[change(number, index) for index in range(1, 7) for number in (1, 2)], (1, 1, 9, b"", b"")
    )
    assert (sink.indexes(), other.indexes()) == ([1, 2], [1, 2, 3, 4, 5, 6])
    assert bench.engine.core.calls == [("pause", 1)]
    bench.engine.core.position = 6
    assert watch.held
    assert watch.position == 2, "what is kept back was not told"
    sink.room = 2
    watch.resume()
    assert (sink.indexes(), watch.held) == ([1, 2, 3, 4], True)
    sink.room = 10
    watch.resume()
    assert (sink.indexes(), sink.told[-1]) == ([1, 2, 3, 4, 5, 6], ("behind", 9))
    assert (watch.held, watch.position) == (False, 6)
    assert bench.engine.core.calls == [("pause", 1), ("resume", 1)]
    assert bench.watching.counters.behind == 1


def test_the_position_stays_when_the_node_is_gone() -> None:
    bench = Bench()
    watch = bench.watching.open(bench.context(), SPEC, Noting(), transport="sse")
    bench.engine.core.position = 7
    assert watch.position == 7
    bench.engine.core.position = None
    assert watch.position == 7


def test_what_is_told_is_counted_by_its_type() -> None:
    bench = Bench()
    for _ in range(3):
        bench.watching.open(bench.context(), SPEC, Noting(), transport="sse")
    bench.engine.tell(*(change(watch, 1) for watch in (1, 2, 3)))
    bench.engine.tell(
        change(1, 2, payload=b'{"type":"delete","key":"a/1"}'), change(2, 3), (3, 2, 3, b"", b"")
    )
    counters = bench.watching.counters
    assert (counters.delivered, counters.compacted) == ({"set": 4, "delete": 1}, 1)
    assert (counters.active, counters.opened) == ({"sse": 3}, {"sse": 3})


def test_a_closed_watch_is_told_nothing_that_was_on_its_way() -> None:
    bench, sink = Bench(), Noting()

    class Closing(Noting):
        def event(self, index: int, key: bytes, payload: bytes) -> bool:
            second.close()
            return super().event(index, key, payload)

    bench.watching.open(bench.context(), SPEC, Closing(), transport="sse")
    second = bench.watching.open(bench.context(), SPEC, sink, transport="websocket")
    bench.engine.tell(change(1, 1), change(2, 1))
    second.close()
    assert sink.told == []
    assert bench.engine.core.calls == [("unwatch", 2)]
    counters = bench.watching.counters
    assert (counters.active, counters.closed) == ({"sse": 1, "websocket": 0}, {"websocket": 1})


def test_a_sink_that_fails_is_closed_and_the_others_are_told() -> None:
    bench, sink = Bench(), Noting()

    class Failing(Noting):
        def event(self, index: int, key: bytes, payload: bytes) -> bool:
            super().event(index, key, payload)
            raise RuntimeError("a defect")

        def compacted(self, index: int) -> None:
            super().compacted(index)
            raise RuntimeError("a defect")

    failing = Failing()
    bench.watching.open(bench.context(), SPEC, failing, transport="sse")
    bench.watching.open(bench.context(), SPEC, Failing(), transport="sse")
    bench.watching.open(bench.context(), SPEC, sink, transport="sse")
    bench.engine.tell(change(1, 1), (2, 2, 1, b"", b""), change(3, 1))
    assert sink.indexes() == [1]
    assert failing.told == [("event", 1, b"a/1", PAYLOAD), ("ended", Internal)]
    assert bench.engine.core.calls == [("unwatch", 1), ("unwatch", 2)]


def test_limits_name_their_setting_and_count_by_client() -> None:
    bench = Bench(max_per_client=2, max_total=3)
    user = Identity("user", "u1")
    first = bench.watching.open(bench.context(), SPEC, Noting(), transport="sse")
    bench.watching.open(bench.context(), SPEC, Noting(), transport="sse")
    with pytest.raises(TooMany, match="KONSUL_WATCH_MAX_PER_CLIENT"):
        bench.watching.open(bench.context(), SPEC, Noting(), transport="sse")
    bench.watching.open(bench.context(user), SPEC, Noting(), transport="sse")
    with pytest.raises(TooMany, match="KONSUL_WATCH_MAX_TOTAL"):
        bench.watching.open(bench.context(address="192.0.2.2"), SPEC, Noting(), transport="sse")
    bench.watching.open(bench.context(), SPEC, Noting(), transport=INSIDE)
    first.close()
    bench.watching.open(bench.context(), SPEC, Noting(), transport="sse")
    assert bench.watching.counters.refused == {"client": 1, "total": 1}


def test_a_watch_the_core_refuses_leaves_nothing_behind() -> None:
    bench = Bench(max_per_client=1)
    bench.engine.refusal = Invalid("no such pattern")
    with pytest.raises(Invalid):
        bench.watching.open(bench.context(), SPEC, Noting(), transport="sse")
    bench.engine.refusal = TooMany("this node has its watches")
    with pytest.raises(TooMany):
        bench.watching.open(bench.context(), SPEC, Noting(), transport="sse")
    bench.engine.refusal = None
    bench.watching.open(bench.context(), SPEC, Noting(), transport="sse")
    assert bench.watching.counters.opened == {"sse": 1}


def test_who_may_not_read_a_key_is_not_told_of_it() -> None:
    bench, wide, narrow = Bench(), Noting(), Noting()
    hidden: set[str] = set()
    asked: list[tuple[str, str]] = []

    def authorise(_identity: Identity, needs: str, resource: str) -> str:
        asked.append((needs, resource))
        if resource in hidden:
            raise Forbidden("not yours")
        return ""

    bench.pipeline.authorise = authorise
    bench.watching.open(bench.context(), SPEC, wide, transport="sse")
    bench.watching.open(bench.context(), Spec(None, 1, "a/2"), narrow, transport="sse")
    hidden.add("a/2")
    bench.engine.tell(
        change(1, 1), change(1, 2, b"a/2"), change(2, 2, b"a/2"), change(1, 3), change(2, 4, b"a/2")
    )
    assert wide.indexes() == [1, 3]
    assert narrow.told == [("ended", Forbidden)]
    assert bench.watching.counters.withheld == {"forbidden": 2}
    assert asked[:3] == [("kv:read", "a/*"), ("kv:read", "a/2"), ("kv:read", "a/1")]
    with pytest.raises(Forbidden):
        bench.watching.open(bench.context(), Spec(None, 1, "a/2"), narrow, transport="sse")


def test_an_instance_is_asked_for_by_its_service_and_a_lost_login_ends_the_watch() -> None:
    bench, sink = Bench(), Noting()
    asked: list[str] = []

    def authorise(_identity: Identity, _needs: str, resource: str) -> str:
        asked.append(resource)
        if len(asked) > 2:
            raise Unauthenticated("expired")
        return ""

    bench.pipeline.authorise = authorise
    spec = Spec(None, 2, "web *", needs="service:read", separator=b" ")
    bench.watching.open(bench.context(), spec, sink, transport="sse")
    bench.engine.tell(change(1, 1, b"web 1"), change(1, 2, b"web 2"), change(1, 3, b"web 1"))
    assert asked == ["web", "web", "web"]
    assert sink.told == [("event", 1, b"web 1", PAYLOAD), ("ended", Unauthenticated)]


@pytest.mark.parametrize(
    ("spec", "name", "key"),
    [
        (Spec(None, 2, "web *", needs="service:read", separator=b" "), "web", b"web 1"),
        (Spec(None, 1, "what[?]/[*]"), "what?/*", b"what?/*"),
    ],
)
def test_whoever_may_not_read_the_one_thing_that_is_watched_is_told_so(
    spec: Spec, name: str, key: bytes
) -> None:
    bench, sink = Bench(), Noting()
    asked: list[str] = []

    def authorise(_identity: Identity, _needs: str, resource: str) -> str:
        asked.append(resource)
        if len(asked) > 2:
            raise Forbidden("no more")
        return ""

    bench.pipeline.authorise = authorise
    bench.watching.open(bench.context(), spec, sink, transport="sse")
    bench.engine.tell(change(1, 1, key), change(1, 2, key), change(1, 3, key))
    assert asked == [name, name, name]
    assert sink.told == [("event", 1, key, PAYLOAD), ("ended", Forbidden)]


def test_a_node_that_stops_ends_its_watches() -> None:
    bench, sink = Bench(), Noting()
    bench.watching.open(bench.context(), SPEC, sink, transport="sse")
    bench.watching.stop()
    assert sink.told == [("ended", Stopping)]
    assert bench.watching.counters.active == {"sse": 0}


def story(told: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs a test's coroutine."""
    asyncio.run(told())


def test_an_iterator_reads_ahead_so_far_and_no_farther() -> None:
    async def told() -> None:
        bench = Bench()
        events = bench.watching.events(bench.context(), SPEC, transport="graphql")
        bench.engine.tell(
            *(change(1, index) for index in range(1, 201)), (1, 1, 201, b"", b""), (1, 2, 300, b"", b"")
        )
        assert bench.engine.core.calls == [("pause", 1)]
        seen = [await anext(events) for _ in range(202)]
        assert seen == [Event(index, b"a/1", PAYLOAD) for index in range(1, 201)] + [
            Behind(201),
            Compacted(300),
        ]
        assert bench.engine.core.calls[-1] == ("resume", 1)
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        bench.engine.tell(change(1, 301))
        assert (await waiting)[0] == 301
        await events.aclose()
        assert bench.engine.core.calls[-1] == ("unwatch", 1)

    story(told)


def test_an_iterator_ends_with_the_error_that_ended_it_after_what_was_seen() -> None:
    async def told() -> None:
        bench = Bench()
        events = bench.watching.events(bench.context(), SPEC, transport="graphql")
        bench.engine.tell(change(1, 1))
        bench.watching.stop()
        assert (await anext(events))[0] == 1
        with pytest.raises(Stopping):
            await anext(events)

    story(told)


@pytest.mark.parametrize("told_of", [change(1, 6), (1, 1, 6, b"", b""), (1, 2, 6, b"", b"")])
def test_a_poll_wakes_for_whatever_there_is_to_tell(told_of: Watched) -> None:
    async def told() -> None:
        bench = Bench()
        polling = asyncio.ensure_future(bench.watching.changed(bench.context(), SPEC, 5, 60_000))
        await asyncio.sleep(0)
        assert bench.watching.counters.active == {"poll": 1}
        bench.engine.tell(told_of, told_of)
        assert await polling is True
        assert bench.watching.counters.active == {"poll": 0}

    story(told)


def test_a_poll_ends_without_a_change_and_with_the_node() -> None:
    async def told() -> None:
        bench = Bench()
        assert await bench.watching.changed(bench.context(), SPEC, 5, 1) is False
        polling = asyncio.ensure_future(bench.watching.changed(bench.context(), SPEC, 5, 60_000))
        await asyncio.sleep(0)
        bench.watching.stop()
        with pytest.raises(Stopping):
            await polling
        assert bench.watching.counters.closed == {"poll": 2}

    story(told)
