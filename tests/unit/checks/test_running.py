"""The runner: concurrency, what is told, what is remembered. Attempts are the test's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson

from konsul.features.checks.definition import Definition, definition_of
from konsul.features.checks.metrics import SKIPPED
from konsul.features.checks.outcome import Outcome, outcome
from konsul.features.checks.running import RESULTS_MAX, Runner, Running
from tests.waiting import pace, until_async


@dataclass
class Settings:
    concurrency: int = 10
    start_spread_ms: int = 0
    output_interval_ms: int = 60_000
    flap_changes_max: int = 6
    flap_window_intervals: int = 10


def http(**members: Any) -> Definition:
    return definition_of("http", orjson.dumps({"http": "http://x/", "interval": "100ms"} | members))


def skipped() -> float:
    """Attempts left out so far, of every runner of this process."""
    return next(iter(SKIPPED.collect())).samples[0].value


class House:
    """A runner, and what it told."""

    def __init__(
        self, attempt: Callable[[Definition], Awaitable[Outcome]], settings: Settings | None = None
    ) -> None:
        self.told: list[tuple[bytes, Outcome]] = []
        self.runner = Runner(settings or Settings(), attempt, self._tell)

    def _tell(self, one: Running, found: Outcome) -> None:
        self.told.append((one.id, found))
        one.stored_status, one.stored_said = found.status, found.said

    async def __aenter__(self) -> House:
        self.runner.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runner.stop()


def test_only_what_is_new_is_told() -> None:
    async def story() -> None:
        found = iter([outcome("passing", "fine", f"({number}s)") for number in range(100)])

        async def attempt(_: Definition) -> Outcome:
            return next(found)

        async with House(attempt) as house:
            one = house.runner.add(b"c", http(), "critical")
            await until_async(lambda: len(one.results) >= 3, "three results")
        assert [(key, told.status, told.said) for key, told in house.told] == [(b"c", "passing", "fine")]

    asyncio.run(story())


def test_a_changed_output_is_told_but_not_too_often() -> None:
    async def story(pause_ms: int) -> int:
        number = 0

        async def attempt(_: Definition) -> Outcome:
            nonlocal number
            number += 1
            return outcome("passing", f"output {number}")

        async with House(attempt, Settings(output_interval_ms=pause_ms)) as house:
            one = house.runner.add(b"c", http(), "critical")
            await until_async(lambda: len(one.results) >= 5, "five results")
        return len(house.told)

    assert asyncio.run(story(60_000)) == 1
    assert asyncio.run(story(0)) >= 5


def test_who_takes_over_a_check_that_says_the_same_tells_nothing() -> None:
    async def story() -> None:
        async def attempt(_: Definition) -> Outcome:
            return Outcome("critical", "TCP connection failed after 57us: refused", "TCP connection: refused")

        async with House(attempt) as house:
            before = "TCP connection failed after 1.234ms: refused"
            one = house.runner.add(b"c", http(), "critical", before)
            await until_async(lambda: len(one.results) >= 2, "two results")
        assert house.told == []

    asyncio.run(story())


def test_a_check_that_goes_gives_its_place_to_the_next() -> None:
    async def story() -> None:
        async def attempt(check: Definition) -> Outcome:
            if check.http == "http://silent/":
                await asyncio.Event().wait()
            return outcome("passing", "fine")

        async with House(attempt, Settings(concurrency=1)) as house:
            house.runner.add(b"silent", http(http="http://silent/"), "critical")
            await until_async(lambda: house.runner.in_flight == 1, "the silent one to take the only place")
            other = house.runner.add(b"other", http(), "critical")
            await until_async(lambda: house.runner.waiting == 1, "the other to wait for it")
            house.runner.remove(b"silent")
            await until_async(lambda: len(other.results) >= 2, "the other to run")

    asyncio.run(story())


def test_no_more_run_at_once_than_the_setting_says() -> None:
    async def story() -> None:
        running = most = done = 0

        async def attempt(_: Definition) -> Outcome:
            nonlocal running, most, done
            running += 1
            most = max(most, running)
            await pace(0.002)
            running -= 1
            done += 1
            return outcome("passing", "fine")

        async with House(attempt, Settings(concurrency=4)) as house:
            for number in range(50):
                house.runner.add(b"c%d" % number, http(interval="1h"), "critical")
            await until_async(lambda: done == 50, "each to run once")
            assert house.runner.waiting == 0
        assert most == 4

    asyncio.run(story())


def test_a_check_never_runs_twice_at_once() -> None:
    async def story() -> None:
        running = 0
        overlaps: list[int] = []
        release = asyncio.Event()

        async def attempt(_: Definition) -> Outcome:
            nonlocal running
            running += 1
            overlaps.append(running)
            await release.wait()
            running -= 1
            return outcome("passing", "fine")

        async with House(attempt) as house:
            one = house.runner.add(b"c", http(), "critical")
            await until_async(lambda: overlaps, "the first attempt")
            before = skipped()
            await until_async(lambda: skipped() >= before + 2, "two moments to pass it over")
            release.set()
            await until_async(lambda: len(one.results) >= 2, "a second")
        assert set(overlaps) == {1}

    asyncio.run(story())


def test_an_attempt_under_way_is_told_to_nobody_once_the_check_is_gone() -> None:
    async def story() -> None:
        begun, release = asyncio.Event(), asyncio.Event()

        async def attempt(_: Definition) -> Outcome:
            begun.set()
            await release.wait()
            return outcome("passing", "fine")

        async with House(attempt) as house:
            one = house.runner.add(b"c", http(), "critical")
            await begun.wait()
            house.runner.remove(b"c")
            release.set()
            await until_async(lambda: house.runner.in_flight == 0, "the attempt to end")
            assert (one.is_gone, list(one.results), house.told) == (True, [], [])
            assert len(house.runner) == 0

    asyncio.run(story())


def test_the_last_ten_results_are_remembered() -> None:
    async def story() -> None:
        number = 0

        async def attempt(_: Definition) -> Outcome:
            nonlocal number
            number += 1
            return outcome("passing", str(number))

        async with House(attempt) as house:
            one = house.runner.add(b"c", http(), "critical")
            await until_async(lambda: number > RESULTS_MAX + 2, "more results than are kept")
        said = [int(result.output) for result in one.results]
        assert len(said) == RESULTS_MAX
        assert said == list(range(said[0], said[0] + RESULTS_MAX))

    asyncio.run(story())


def test_flapping_is_said_in_the_output_and_the_history() -> None:
    async def story() -> None:
        number = 0

        async def attempt(_: Definition) -> Outcome:
            nonlocal number
            number += 1
            return outcome("passing" if number % 2 else "critical", "x")

        settings = Settings(flap_changes_max=2, flap_window_intervals=1_000)
        async with House(attempt, settings) as house:
            one = house.runner.add(b"c", http(), "passing")
            await until_async(lambda: one.damper.is_flapping, "the hold")
            held = len(one.results)
            await until_async(
                lambda: len(one.results) > held + 1 or held == RESULTS_MAX, "results in the hold"
            )
            assert house.runner.flapping == 1
        assert one.results[-1].is_flapping
        assert one.results[-1].decided == "critical"
        assert house.told[-1][1].status == "critical"
        assert house.told[-1][1].output == "flapping, critical is held: x"

    asyncio.run(story())
