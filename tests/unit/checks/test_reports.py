"""Telling results until they are written, or out of date."""

from __future__ import annotations

import asyncio

from konsul.errors import NoLeader, NotFound
from konsul.features.checks.damping import Damper, Thresholds
from konsul.features.checks.definition import definition_of
from konsul.features.checks.outcome import Outcome, outcome
from konsul.features.checks.reports import WORKERS, Reports
from konsul.features.checks.running import Running
from tests.waiting import pace, until_async


def check(name: bytes = b"c") -> Running:
    definition = definition_of("tcp", b'{"tcp":"a:1"}')
    return Running(name, definition, Damper(Thresholds(), "critical", 10, 6), "critical")


PASSING, CRITICAL = outcome("passing", "p"), outcome("critical", "c")


def test_it_is_tried_again_until_it_is_written() -> None:
    async def story() -> None:
        tries = 0

        async def write(one: Running, found: Outcome) -> None:
            nonlocal tries
            tries += 1
            if tries < 3:
                raise NoLeader("nobody leads")

        reports, one = Reports(write), check()
        reports.tell(one, PASSING)
        await until_async(lambda: reports.health() is not None, "it to say so")
        await until_async(lambda: one.stored_status == "passing", "the report to be written")
        assert (tries, len(reports), reports.health()) == (3, 0, None)
        await reports.stop()

    asyncio.run(story())


def test_a_newer_result_replaces_one_that_waits() -> None:
    async def story() -> None:
        written: list[Outcome] = []
        open_ = asyncio.Event()

        async def write(one: Running, found: Outcome) -> None:
            if not open_.is_set():
                open_.set()
                raise NoLeader("nobody leads")
            written.append(found)

        reports, one = Reports(write), check()
        reports.tell(one, PASSING)
        await open_.wait()
        reports.tell(one, CRITICAL)
        await until_async(lambda: written, "a report")
        await until_async(lambda: not reports._tasks, "the end of the work")
        assert written == [CRITICAL]
        await reports.stop()

    asyncio.run(story())


def test_reports_of_one_check_are_written_one_after_the_other() -> None:
    async def story() -> None:
        under_way = 0
        order: list[str] = []

        async def write(one: Running, found: Outcome) -> None:
            nonlocal under_way
            under_way += 1
            assert under_way == 1
            await pace(0.01)
            order.append(found.status)
            under_way -= 1

        reports, one = Reports(write), check()
        reports.tell(one, PASSING)
        await asyncio.sleep(0)
        reports.tell(one, CRITICAL)
        await until_async(lambda: len(order) == 2, "both")
        assert order == ["passing", "critical"]
        await reports.stop()

    asyncio.run(story())


def test_a_check_that_is_gone_is_dropped() -> None:
    async def story() -> None:
        async def write(one: Running, found: Outcome) -> None:
            raise NotFound("check not found")

        reports, one = Reports(write), check()
        reports.tell(one, PASSING)
        await until_async(lambda: not reports._tasks, "the end of the work")
        assert (one.stored_status, reports.health()) == ("critical", None)
        await reports.stop()

    asyncio.run(story())


def test_thousands_wait_for_a_bounded_number_of_writers() -> None:
    async def story() -> None:
        under_way = most = 0

        async def write(one: Running, found: Outcome) -> None:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1

        reports = Reports(write)
        all_ = [check(b"%d" % number) for number in range(2_000)]
        for one in all_:
            reports.tell(one, PASSING)
        await until_async(lambda: not reports._tasks, "all")
        assert all(one.stored_status == "passing" for one in all_)
        assert most <= WORKERS
        await reports.stop()

    asyncio.run(story())
