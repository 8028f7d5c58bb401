"""Guessing passwords: bounded by address and by name, free for who knows."""

from __future__ import annotations

import pytest

from konsul.errors import RateLimited
from konsul.kernel.attempts import Attempts, AttemptSettings, network_of


class Clock:
    """Time as the test says."""

    def __init__(self) -> None:
        self.now_ms = 0

    def __call__(self) -> int:
        return self.now_ms


def attempts(clock: Clock) -> Attempts:
    return Attempts(AttemptSettings(attempts=5, period_ms=60_000), clock)


def test_after_five_guesses_an_address_waits_twelve_seconds_for_each() -> None:
    clock = Clock()
    found = attempts(clock)
    for guess in range(5):
        found.spend("10.0.0.1", f"user{guess}")
    with pytest.raises(RateLimited) as refused:
        found.spend("10.0.0.1", "another")
    assert (refused.value.retry_after_s, refused.value.identifier) == (12, "ip:10.0.0.1")
    clock.now_ms = 12_000
    found.spend("10.0.0.1", "another")
    assert found.refused == {"address": 1, "user": 0}


def test_a_name_is_guessed_from_many_addresses_no_faster() -> None:
    found = attempts(Clock())
    for host in range(5):
        found.spend(f"10.0.0.{host}", "alice")
    with pytest.raises(RateLimited) as refused:
        found.spend("10.0.0.9", "alice")
    assert refused.value.identifier == "user:alice"
    found.spend("10.0.0.10", "bob")


def test_who_knows_the_password_spends_nothing() -> None:
    found = attempts(Clock())
    for _ in range(50):
        found.spend("10.0.0.1", "alice")
        found.succeeded("10.0.0.1", "alice")


def test_a_success_gives_back_one_attempt_and_not_those_of_others() -> None:
    found = attempts(Clock())
    for guess in range(4):
        found.spend("10.0.0.1", f"victim{guess}")
    found.spend("10.0.0.1", "mallory")
    found.succeeded("10.0.0.1", "mallory")
    found.spend("10.0.0.1", "victim9")
    with pytest.raises(RateLimited):
        found.spend("10.0.0.1", "victim10")


def test_an_address_without_attempts_uses_up_none_of_a_name() -> None:
    found = attempts(Clock())
    for guess in range(5):
        found.spend("10.0.0.1", f"user{guess}")
    for _ in range(9):
        with pytest.raises(RateLimited):
            found.spend("10.0.0.1", "alice")
    found.spend("10.0.0.2", "alice")


def test_a_long_name_is_cut_and_not_kept() -> None:
    found = attempts(Clock())
    for host in range(5):
        found.spend(f"10.0.0.{host}", "x" * 300)
    with pytest.raises(RateLimited) as refused:
        found.spend("10.0.0.9", "x" * 256 + "y")
    assert len(refused.value.identifier) == len("user:") + 256


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
    ],
)
def test_one_host_has_one_count(address: str, network: str) -> None:
    assert network_of(address) == network
