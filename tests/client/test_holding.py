"""Whom a holder may believe, and what the keys of semaphores say."""

from __future__ import annotations

import json

import pytest

from konsul.client.holding import LOCK_FLAGS, SEMAPHORE_FLAGS, Belief, Slots, hurried, seconds, slots_of
from konsul.client.locking import wishes
from konsul.client.model import KeyValue
from konsul.client.settings import Settings
from konsul.errors import Conflict, Invalid


class Clock:
    """Stands still unless it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_session_is_believed_for_a_ttl_after_the_beginning_of_the_last_answered_renewal() -> None:
    clock = Clock()
    belief = Belief(10.0, 99.0, clock)
    assert belief.left_s() == 9.0
    clock.now_s = 105.0
    belief.renewed(103.0)
    clock.now_s = 112.9
    assert not belief.is_over()
    clock.now_s = 113.0
    assert belief.is_over()
    assert belief.reason == "no renewal was answered within the TTL of 10s"


def test_an_answer_that_comes_too_late_brings_nothing_back() -> None:
    clock = Clock()
    belief = Belief(10.0, 100.0, clock)
    clock.now_s = 111.0
    belief.renewed(109.0)
    assert belief.is_over()
    assert belief.left_s() == 0.0


def test_the_first_reason_of_an_end_counts() -> None:
    belief = Belief(10.0, 100.0, Clock())
    belief.end("its session has ended")
    belief.end("given back")
    assert belief.is_over()
    assert belief.reason == "its session has ended"


def test_renewals_do_not_wait_as_long_as_other_calls() -> None:
    settings = hurried(Settings("http://a,http://b", read_your_writes=True, consistency="stale"), 15.0)
    assert settings.policy.deadline_s == 5.0
    assert settings.policy.attempt_s == 1.5
    assert settings.addresses == ("http://a", "http://b")
    assert (settings.read_your_writes, settings.consistency) == (False, None)


@pytest.mark.parametrize(
    ("text", "found"), [("15s", 15.0), ("1m30s", 90.0), ("250ms", 0.25), ("1.5h", 5_400.0)]
)
def test_durations_are_read(text: str, found: float) -> None:
    assert seconds(text) == found


@pytest.mark.parametrize("text", ["", "15", "s", "-1s", "1s2", "1 s", "soon"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="is not a duration"):
        seconds(text)


def test_a_lock_that_would_outlive_its_holder_is_refused() -> None:
    with pytest.raises(Invalid, match="ttl over zero"):
        wishes("0s")


def state(limit: object, *holders: str, flags: int = SEMAPHORE_FLAGS) -> KeyValue:
    value = json.dumps({"Limit": limit, "Holders": dict.fromkeys(holders, True)}).encode()
    return KeyValue("s/.lock", value, flags, modify_index=9)


def contender(session: str, holder: str | None = None) -> KeyValue:
    return KeyValue(f"s/{session}", b"", SEMAPHORE_FLAGS, session=session if holder is None else holder)


def test_only_who_lives_holds_a_place() -> None:
    rows = [state(3, "one", "two", "three"), contender("one"), contender("two", ""), contender("four")]
    assert slots_of("s/", 3, rows) == Slots(3, ("one",), 9)


def test_without_keys_all_places_are_free() -> None:
    assert slots_of("s/", 2, []) == Slots(2, (), 0)


def test_what_is_written_is_read_again() -> None:
    written = KeyValue("s/.lock", Slots(2, ("one",), 0).packed().encode(), SEMAPHORE_FLAGS, modify_index=4)
    assert slots_of("s/", 2, [written, contender("one")]) == Slots(2, ("one",), 4)


def test_another_limit_is_refused_while_somebody_counts_on_it() -> None:
    with pytest.raises(Conflict, match="has the limit 3, not 2"):
        slots_of("s/", 2, [state(3, "one"), contender("one")])
    assert slots_of("s/", 2, [state(3, "gone")]) == Slots(2, (), 9)


@pytest.mark.parametrize(
    "row",
    [
        state(1, flags=LOCK_FLAGS),
        KeyValue("s/.lock", b"{", SEMAPHORE_FLAGS),
        KeyValue("s/.lock", b"[]", SEMAPHORE_FLAGS),
        KeyValue("s/.lock", b"\xff", SEMAPHORE_FLAGS),
        state("many"),
    ],
)
def test_keys_of_something_else_are_left_alone(row: KeyValue) -> None:
    with pytest.raises(Conflict, match="semaphore"):
        slots_of("s/", 1, [row])
