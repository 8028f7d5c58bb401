"""Response rate limiting: a forged question must not make this door flood whom it was forged from.

The scheme of BIND's RRL: of answers to one question from one network only so many are sent per second. Beyond
that every n-th says TC, so that who really asks comes back over TCP, where no address is forged; the rest is
dropped.
"""

from __future__ import annotations

import ipaddress
from typing import Final, Literal, TypeAlias

from konsul.kernel.dns_settings import DnsSettings

Verdict: TypeAlias = Literal["send", "slip", "drop"]
SEND: Final = "send"
SLIP: Final = "slip"
DROP: Final = "drop"
_NETWORKS_MAX: Final = 10_000
_ACCOUNTS_MAX: Final = 50_000
_BITS: Final = {4: 24, 6: 56}


class Limiting:
    """One account per network and question. Bounded: of more the oldest are forgotten."""

    def __init__(self, settings: DnsSettings) -> None:
        self._rate = float(settings.rrl_responses_per_s)
        self._slip = settings.rrl_slip
        self._exempt = [ipaddress.ip_network(item, strict=False) for item in settings.rrl_exempt]
        self._networks: dict[str, bytes] = {}
        self._accounts: dict[tuple[bytes, bytes], list[float]] = {}
        """Answers left, when that was, and how many were held back since."""

    def network(self, address: str) -> bytes:
        """What `address` is counted as; empty: it is not limited."""
        found = self._networks.get(address)
        if found is None:
            if len(self._networks) >= _NETWORKS_MAX:
                self._networks.clear()
            found = self._networks[address] = self._network(address)
        return found

    def verdict(self, network: bytes, question: bytes, now_s: float) -> Verdict:
        """What becomes of one more answer. `question`: the same for all that ask alike."""
        account = self._accounts.get((network, question))
        if account is None:
            if len(self._accounts) >= _ACCOUNTS_MAX:
                del self._accounts[next(iter(self._accounts))]
            account = self._accounts[network, question] = [self._rate, now_s, 0.0]
        left = min(self._rate, account[0] + (now_s - account[1]) * self._rate)
        account[1] = now_s
        if left >= 1.0:
            account[0] = left - 1.0
            return SEND
        account[0] = left
        account[2] += 1.0
        return SLIP if self._slip and account[2] % self._slip == 0 else DROP

    def _network(self, address: str) -> bytes:
        if not self._rate:
            return b""
        found = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        if any(found in network for network in self._exempt):
            return b""
        return found.packed[: _BITS[found.version] // 8]
