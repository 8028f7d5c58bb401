"""Which addresses checks may reach."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

import pytest

from konsul.features.checks.guard import DENIED, Guard, Refused, Targets, embedded, networks

METADATA = "169.254.169.254"


def guard(*allowed: str) -> Guard:
    return Guard(networks(DENIED), networks(allowed))


@pytest.mark.parametrize(
    "address",
    [
        METADATA,
        "169.254.170.2",
        "0.0.0.0",  # noqa: S104 - an address to be refused
        "0.1.2.3",
        "224.0.0.1",
        "239.255.255.250",
        "255.255.255.255",
        "100.100.100.200",
        "168.63.129.16",
        "::",
        "fe80::1",
        "ff02::1",
        "fd00:ec2::254",
        f"::ffff:{METADATA}",
        f"::{METADATA}",
        f"64:ff9b::{METADATA}",
        "2002:a9fe:a9fe::1",
        "2001:0:a9fe:a9fe::1",
    ],
)
def test_it_is_refused_by_default(address: str) -> None:
    with pytest.raises(Refused):
        guard().judge(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "93.184.216.34",
        "::1",
        "fd12::1",
        "2001:db8::1",
        "::ffff:10.0.0.1",
    ],
)
def test_services_may_be_anywhere_else(address: str) -> None:
    guard().judge(ip_address(address))


def test_with_an_allow_list_nothing_else_is_reached_and_what_is_denied_stays_so() -> None:
    only = guard("10.0.0.0/8", "169.254.0.0/16")
    only.judge(ip_address("10.1.2.3"))
    only.judge(ip_address("::ffff:10.1.2.3"))
    for address in ("127.0.0.1", METADATA, "2001:db8::1"):
        with pytest.raises(Refused):
            only.judge(ip_address(address))


def test_teredo_carries_server_and_client() -> None:
    carried = embedded(ip_address("2001:0:4136:e378:8000:63bf:3fff:fdd2"))
    assert [str(one) for one in carried[1:]] == ["65.54.227.120", "192.0.2.45"]


def test_of_a_name_only_the_addresses_that_may_be_reached_are_left() -> None:
    targets = Targets(guard(), lambda _: [METADATA, "10.0.0.1", "fe80::1%eth0"])
    assert asyncio.run(targets.of("mixed.example")) == ["10.0.0.1"]
    targets.close()


def test_a_name_without_any_is_refused() -> None:
    targets = Targets(guard(), lambda _: [METADATA, f"::ffff:{METADATA}"])
    with pytest.raises(Refused, match=r"169\.254\.0\.0/16"):
        asyncio.run(targets.of("metadata.example"))
    targets.close()


def test_a_name_is_asked_for_at_each_attempt() -> None:
    answers = iter([["10.0.0.1"], [METADATA]])
    targets = Targets(guard(), lambda _: next(answers))

    async def twice() -> None:
        assert await targets.of("rebinding.example") == ["10.0.0.1"]
        with pytest.raises(Refused):
            await targets.of("rebinding.example")

    asyncio.run(twice())
    targets.close()


def test_what_is_no_name_is_asked_of_nobody() -> None:
    def resolver(host: str) -> list[str]:
        raise AssertionError(host)

    targets = Targets(guard(), resolver)
    for host in ("", "a\0b", "x" * 254):
        with pytest.raises(OSError, match="no host name"):
            asyncio.run(targets.of(host))
