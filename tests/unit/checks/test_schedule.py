"""When checks are due."""

from __future__ import annotations

import random

from konsul.features.checks.assignment import phase_of
from konsul.features.checks.schedule import Schedule


def test_a_check_is_due_at_its_first_moment_and_then_at_its_phase() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add(b"a", "a", interval_s=10, phase_s=3, first_s=100)
    assert schedule.due(99.9) == []
    assert schedule.due(100) == [(100, "a")]
    assert schedule.next_s() == 113
    assert schedule.due(113) == [(113, "a")]
    assert schedule.next_s() == 123


def test_a_first_run_close_to_the_phase_is_not_followed_by_a_second_at_once() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add(b"a", "a", interval_s=10, phase_s=3, first_s=102)
    schedule.due(102)
    assert schedule.next_s() == 113


def test_a_process_that_slept_runs_each_check_once() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add(b"a", "a", interval_s=1, phase_s=0, first_s=1)
    schedule.due(1)
    assert [value for _, value in schedule.due(1_000.5)] == ["a"]
    assert schedule.due(1_000.6) == []
    following = schedule.next_s()
    assert following is not None
    assert 1_000.5 < following <= 1_002


def test_replaced_and_removed_checks_are_not_due_at_their_old_moments() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add(b"a", "old", 10, 0, 5)
    schedule.add(b"a", "new", 10, 0, 7)
    schedule.add(b"b", "b", 10, 0, 6)
    assert schedule.remove(b"b") == "b"
    assert schedule.remove(b"b") is None
    assert schedule.due(20) == [(7, "new")]
    assert len(schedule) == 1


def test_the_heap_does_not_grow_with_what_was_removed() -> None:
    schedule: Schedule[int] = Schedule()
    for number in range(10_000):
        schedule.add(b"same", number, 10, 0, 1_000_000 + number)
        schedule.add(b"%d" % number, number, 10, 0, 5)
        schedule.remove(b"%d" % number)
    assert len(schedule._heap) < 200


def test_every_check_runs_once_per_interval_whatever_comes_and_goes() -> None:
    draw = random.Random(7)
    schedule: Schedule[bytes] = Schedule()
    last: dict[bytes, float] = {}
    for number in range(200):
        key = b"%d" % number
        schedule.add(key, key, 10, phase_of(key, 10), draw.random())
    now_s = 0.0
    while now_s < 200:
        now_s += draw.random() / 5
        for due_s, key in schedule.due(now_s):
            assert due_s <= now_s
            if key in last:
                assert 4.5 < due_s - last[key] < 15.5
            last[key] = due_s
    assert all(at_s > 185 for at_s in last.values())


def test_phases_are_spread_evenly_over_the_interval() -> None:
    tenths = [0] * 10
    for number in range(10_000):
        tenths[int(phase_of(b"check-%d" % number, 10.0))] += 1
    assert min(tenths) > 850
    assert max(tenths) < 1_150
