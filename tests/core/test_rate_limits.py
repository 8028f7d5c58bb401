"""The native limits as the pipeline asks them: headers, verdicts, names, and memory under many addresses."""

from __future__ import annotations

import time

import pytest

from konsul._core import CoreError
from konsul.engine import RateLimits

ADDRESS, KEY, USER, NOBODY = range(4)
UNLIMITED, WHITELISTED, ALLOWED, REFUSED, BLACKLISTED = range(5)
SLOW = 500_000
"""Half a token per second."""
BEGIN = (0, 1_000_000_000_000)


def limits(burst: int = 2, clients_max: int = 100, *, with_headers: bool = True) -> RateLimits:
    classes = [None, ("login", 1_000_000, 1)]
    return RateLimits(
        (SLOW, burst), classes, clients_max=clients_max, history_max=3, with_headers=with_headers
    )


def at(ms: int) -> tuple[int, int]:
    return ms, BEGIN[1] + ms


def test_the_headers_tell_limit_rest_and_time() -> None:
    found = limits()
    verdict, headers, wait_ms, reset_s = found.take(ADDRESS, "", "10.0.0.1", 0, 1, at(0))
    assert (verdict, wait_ms, reset_s) == (ALLOWED, 0, 1_000_000_000)
    assert dict(headers) == {
        b"x-ratelimit-limit": b"2",
        b"x-ratelimit-remaining": b"1",
        b"x-ratelimit-reset": b"1000000000",
        b"ratelimit-policy": b'"default";q=2;w=4',
        b"ratelimit": b'"default";r=1;t=2',
    }
    found.take(ADDRESS, "", "10.0.0.1", 0, 1, at(0))
    verdict, headers, wait_ms, reset_s = found.take(ADDRESS, "", "10.0.0.1", 0, 1, at(500))
    # 1.5 s are missing: the second in which they are over is named, not the one before.
    assert (verdict, wait_ms, reset_s) == (REFUSED, 1_500, 1_000_000_002)
    assert dict(headers)[b"x-ratelimit-remaining"] == b"0"
    assert found.take(ADDRESS, "", "10.0.0.1", 0, 1, at(2_000))[0] == ALLOWED


def test_a_wait_that_ends_within_a_second_is_rounded_up() -> None:
    found = limits()
    found.take(ADDRESS, "", "10.0.0.1", 0, 2, at(0))
    assert found.take(ADDRESS, "", "10.0.0.1", 0, 1, at(1))[2:] == (1_999, 1_000_000_002)
    assert found.take(ADDRESS, "", "10.0.0.1", 0, 1, at(1_999))[2:] == (1, 1_000_000_002)


def test_a_class_of_its_own_is_named_in_its_policy() -> None:
    headers = dict(limits().take(ADDRESS, "", "10.0.0.1", 1, 1, at(0))[1])
    assert headers[b"ratelimit-policy"] == b'"login";q=1;w=1'


def test_headers_can_be_off() -> None:
    assert limits(with_headers=False).take(ADDRESS, "", "10.0.0.1", 0, 1, at(0))[1] == []


def test_lists_are_asked_by_address_and_by_name() -> None:
    found = limits()
    found.set_lists([(KEY, "friend", None)], [(ADDRESS, "10.0.0.0/8", None), (USER, "foe", BEGIN[1] + 10)])
    for scope, name, address, verdict in (
        (ADDRESS, "", "10.9.9.9", BLACKLISTED),
        (KEY, "friend", "10.9.9.9", BLACKLISTED),
        (NOBODY, "", "::ffff:10.1.1.1", BLACKLISTED),
        (KEY, "friend", "11.0.0.1", WHITELISTED),
        (USER, "foe", "11.0.0.1", BLACKLISTED + USER),
        (USER, "friend", "11.0.0.1", ALLOWED),
        (NOBODY, "", "11.0.0.1", UNLIMITED),
    ):
        assert found.take(scope, name, address, 0, 1, at(0))[0] == verdict
    assert found.take(USER, "foe", "11.0.0.1", 0, 1, at(10))[0] == ALLOWED
    # By kind: clients, allowed, over their rate, whitelisted, blacklisted.
    assert found.stats() == [(0, 0, 0, 0, 3), (0, 0, 0, 1, 0), (2, 2, 0, 0, 1)]


def test_a_rate_of_ones_own_is_shown_and_ends() -> None:
    found = limits()
    found.set_customs([(USER, "u1", (1_000_000, 9), BEGIN[1] + 100)], at(0))
    found.take(USER, "u1", "", 0, 4, at(0))
    row = (USER, "u1", 5.0, 9, 1_000_000, BEGIN[1], BEGIN[1], 1, 0, BEGIN[1] + 100)
    assert found.client(USER, "u1", at(0)) == row
    assert found.clients(USER, 10, at(0)) == [row]
    found.take(USER, "u1", "", 0, 1, at(100))
    ended = found.client(USER, "u1", at(100))
    assert ended is not None
    assert (ended[3], ended[9]) == (2, 0)


def test_refusals_are_numbered_above_all_of_an_earlier_start() -> None:
    began_ms = time.time_ns() // 1_000_000
    found = limits(burst=1)
    for _ in range(6):
        found.take(KEY, "k1", "10.0.0.1", 0, 1, at(0))
    events = found.history(0, 10)
    numbers = [event[0] for event in events]
    assert numbers == list(range(numbers[0], numbers[0] + 3))
    assert numbers[0] > began_ms * 1_000
    assert events[0][1:] == (BEGIN[1], KEY, "k1", 0, 1, 0.0)
    assert [event[0] for event in found.history(numbers[1], 10)] == numbers[2:]


def test_only_full_buckets_are_swept() -> None:
    found = limits()
    found.take(KEY, "idle", "", 0, 1, at(0))
    found.take(KEY, "spent", "", 0, 2, at(0))
    assert found.sweep(1_000, 10, at(3_000)) == 1
    assert [row[1] for row in found.clients(KEY, 10, at(3_000))] == ["spent"]


def test_a_flood_of_addresses_takes_no_more_places_than_there_are() -> None:
    found = limits(burst=1, clients_max=1_000)
    for host in range(50_000):
        found.take(ADDRESS, "", f"2001:db8:{host >> 8:x}:{host & 255:x}::1", 0, 1, at(0))
    assert found.stats()[ADDRESS] == (1_000, 1_001, 48_999, 0, 0)


def test_names_of_clients_and_networks_are_made_the_same() -> None:
    assert RateLimits.client_of("2001:db8::1") == "2001:db8::/64"
    assert RateLimits.client_of("::ffff:10.0.0.1") == "10.0.0.1"
    assert RateLimits.client_of("x") is None
    assert RateLimits.network_of("10.1.2.3/8") == "10.0.0.0/8"
    assert RateLimits.network_of("10.0.0.0/33") is None


def test_what_cannot_be_is_refused() -> None:
    found = limits()
    for wrong in (
        lambda: limits(burst=0),
        lambda: found.set_rate((0, 1)),
        lambda: found.take(9, "", "", 0, 1),
        lambda: found.clients(9, 1),
        lambda: found.set_lists([(ADDRESS, "x", None)], []),
        lambda: found.set_customs([(ADDRESS, "x", (1, 1), 1)]),
    ):
        with pytest.raises(CoreError):
            wrong()
