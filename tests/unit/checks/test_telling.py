"""How often new words of a TTL check are written."""

from __future__ import annotations

from konsul.features.checks.telling import AT_ONCE, CHECKS_MAX, Words


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_some_at_once_and_then_one_per_pause() -> None:
    clock = Clock()
    words = Words(clock)
    assert [words.may("c", 30) for _ in range(AT_ONCE + 2)] == [True] * AT_ONCE + [False] * 2
    assert words.may("another", 30)
    written = 0
    for _ in range(3_000):
        clock.now_s += 1
        written += words.may("c", 30)
    assert written == 100


def test_who_was_quiet_may_say_some_at_once_again_and_no_more() -> None:
    clock = Clock()
    words = Words(clock)
    for _ in range(AT_ONCE):
        words.may("c", 30)
    clock.now_s += 1_000_000
    assert [words.may("c", 30) for _ in range(AT_ONCE + 1)] == [True] * AT_ONCE + [False]


def test_without_a_pause_everything_is_written() -> None:
    words = Words(Clock())
    assert all(words.may("c", 0) for _ in range(100))


def test_what_is_remembered_is_bounded() -> None:
    words = Words(Clock())
    for number in range(CHECKS_MAX + 5):
        words.may(f"c{number}", 30)
    assert len(words) == CHECKS_MAX
    assert [words.may(f"c{CHECKS_MAX + 4}", 30) for _ in range(AT_ONCE)] == [True] * (AT_ONCE - 1) + [False]
