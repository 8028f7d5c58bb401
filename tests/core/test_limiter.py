"""The limiter of clients: whole requests, exact waits, a bounded number of clients."""

from __future__ import annotations

import pytest

from konsul._core import CoreError
from konsul.engine import Limiter

MINUTE_MS = 60_000


def test_a_client_spends_its_count_and_earns_it_back_over_the_period() -> None:
    limiter = Limiter(100, MINUTE_MS, 10)
    assert [limiter.take("a", 1, 0) for _ in range(100)] == [0] * 100
    assert limiter.take("a", 1, 0) == 600
    assert limiter.take("a", 1, 599) != 0
    assert limiter.take("a", 1, 600) == 0
    assert limiter.take("a", 100, 700 + MINUTE_MS) == 0


def test_many_are_taken_together_or_not_at_all() -> None:
    limiter = Limiter(10, 1_000, 10)
    assert limiter.take("a", 7, 0) == 0
    assert limiter.take("a", 4, 0) == 100
    assert limiter.take("a", 3, 0) == 0
    assert limiter.take("a", 11, 0) is None


def test_clients_do_not_spend_each_others() -> None:
    limiter = Limiter(1, 1_000, 10)
    assert [limiter.take(name, 1, 0) for name in "abcabc"] == [0, 0, 0, 1_000, 1_000, 1_000]


def test_clients_past_the_bound_share_one_bucket() -> None:
    limiter = Limiter(2, 1_000, 2)
    assert [limiter.take(name, 1, 0) for name in ("a", "b", "c", "d", "e")] == [0, 0, 0, 0, 500]
    assert limiter.clients() == 2


def test_those_who_spend_nothing_make_room() -> None:
    limiter = Limiter(2, 1_000, 2)
    for name in ("a", "b"):
        limiter.take(name, 2, 0)
    assert limiter.take("b", 1, 1_000) == 0
    assert limiter.take("c", 2, 1_000) == 0
    assert limiter.clients() == 2
    assert limiter.take("c", 1, 1_000) == 500


@pytest.mark.parametrize("given", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_a_limit_of_nothing_is_refused(given: tuple[int, int, int]) -> None:
    with pytest.raises(CoreError):
        Limiter(*given)


def test_a_clock_that_began_long_ago_is_no_matter() -> None:
    limiter = Limiter(4_000_000_000, 1, 1)
    assert limiter.take("a", 1, 2**63) == 0


def test_what_is_given_back_can_be_taken_again() -> None:
    limiter = Limiter(2, 1_000, 1)
    assert limiter.take("a", 2, 0) == 0
    limiter.give("a", 1, 0)
    assert [limiter.take("a", 1, 0) for _ in range(2)] == [0, 500]
    limiter.give("a", 9, 0)
    assert limiter.take("a", 2, 0) == 0
