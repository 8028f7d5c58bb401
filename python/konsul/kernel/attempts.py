"""How often a password may be guessed from one address and for one name, whatever else is limited or not."""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from konsul.engine import Limiter
from konsul.errors import RateLimited
from konsul.kernel.config import Settings, between, setting
from konsul.kernel.values import DURATION_MS, INT

_NAME_MAX: Final = 256
"""Characters of a user name that count: a longer one is nobody's, and must not fill the memory."""
_DAY_MS: Final = 86_400_000


class AttemptSettings(Settings):
    """Guessing passwords."""

    attempts: int = setting(
        "KONSUL_LOGIN_ATTEMPTS",
        INT,
        default=5,
        doc="Failed logins of one address, and for one user name, until more are answered 429; they come "
        "back evenly over KONSUL_LOGIN_ATTEMPTS_PERIOD.",
        check=between(1, 1_000_000),
    )
    period_ms: int = setting(
        "KONSUL_LOGIN_ATTEMPTS_PERIOD",
        DURATION_MS,
        default=60_000,
        doc="Time in which KONSUL_LOGIN_ATTEMPTS come back: 5 in 1m is one every 12 seconds.",
        check=between(1_000, _DAY_MS, "1s to 24h"),
    )
    clients_max: int = setting(
        "KONSUL_LOGIN_ATTEMPTS_MAX_CLIENTS",
        INT,
        default=100_000,
        doc="Addresses, and user names, whose attempts are kept apart; those beyond share one count.",
        check=between(1, 10_000_000),
    )


def network_of(address: str) -> str:
    """The address, or of IPv6 its /64, which one host has for itself; IPv4 inside IPv6 is IPv4."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


@dataclass(slots=True)
class Attempts:
    """Counts this node's logins. An attempt is spent before the password is looked at, so that many at once
    buy nothing, and comes back when it was right. For any thread."""

    settings: AttemptSettings
    clock: Callable[[], int] = _now_ms
    """Milliseconds of any monotonic clock."""
    refused: dict[str, int] = field(default_factory=lambda: {"address": 0, "user": 0})
    """Attempts refused, by what ran out."""
    _addresses: Limiter = field(init=False)
    _names: Limiter = field(init=False)

    def __post_init__(self) -> None:
        given = self.settings
        self._addresses = Limiter(given.attempts, given.period_ms, given.clients_max)
        self._names = Limiter(given.attempts, given.period_ms, given.clients_max)

    def spend(self, address: str, name: str) -> None:
        """Takes one attempt of the address and one of the name, known or not.

        Raises:
            RateLimited: there is none left; `retry_after_s` says when there is.
        """
        network, now_ms = network_of(address), self.clock()
        # The address first: once it has none left, it no longer uses up those of the name.
        self._take(self._addresses, "address", network, f"ip:{network}", now_ms)
        self._take(self._names, "user", name[:_NAME_MAX], f"user:{name[:_NAME_MAX]}", now_ms)

    def succeeded(self, address: str, name: str) -> None:
        """Gives back what `spend` took: the password was right."""
        now_ms = self.clock()
        self._addresses.give(network_of(address), 1, now_ms)
        self._names.give(name[:_NAME_MAX], 1, now_ms)

    def _take(self, limiter: Limiter, scope: str, client: str, identifier: str, now_ms: int) -> None:
        wait_ms = limiter.take(client, 1, now_ms)
        if wait_ms == 0:
            return
        self.refused[scope] += 1
        wait_s = max(1, math.ceil((wait_ms or 0) / 1_000))
        raise RateLimited(
            f"Too many login attempts. Please retry after {wait_s} seconds.",
            identifier=identifier,
            retry_after_s=wait_s,
            reset_at=math.ceil(time.time() + (wait_ms or 0) / 1_000),
        )
