"""Where a check may connect to. A name is resolved once per attempt, every address it gives is judged, and
the connection goes to the very address that was judged: nothing can change in between (DNS rebinding).

Whoever may register a service may make this server send requests: without such a guard the cloud's metadata
address, which answers credentials to whoever stands on the machine, is one check away (CWE-918).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

Address: TypeAlias = "IPv4Address | IPv6Address"
Network: TypeAlias = "IPv4Network | IPv6Network"
Resolver: TypeAlias = Callable[[str], Sequence[str]]
"""A host name to its addresses as texts. Called in a thread. Raises OSError."""

DENIED: Final = (
    "0.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "255.255.255.255/32",
    "100.100.100.200/32",
    "168.63.129.16/32",
    "::/128",
    "fe80::/10",
    "ff00::/8",
    "fd00:ec2::254/128",
)
"""Unspecified, link-local with the metadata services in it, multicast, broadcast, and the metadata addresses
of clouds that do not use a link-local one."""
_NAT64: Final = IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = IPv6Network("::/96")
_HOST_MAX_CHARS: Final = 253
_THREADS: Final = 8
"""Names resolved at the same time: a name server that does not answer must not hold up checks of others."""


class Refused(Exception):
    """The target may not be reached; the text says which address and why."""


class Guard:
    """Judges addresses. `allowed` empty: everything that is not denied; what is denied stays so."""

    def __init__(self, denied: Iterable[Network], allowed: Iterable[Network] = ()) -> None:
        self._denied = tuple(denied)
        self._allowed = tuple(allowed)

    def judge(self, address: Address) -> None:
        """Returns if the address may be reached. Raises Refused."""
        for one in embedded(address):
            for network in self._denied:
                if one.version == network.version and one in network:
                    raise Refused(f"{address} is in {network}, which checks may not reach")
            if self._allowed and not any(
                one.version == network.version and one in network for network in self._allowed
            ):
                raise Refused(f"{address} is in no network that checks may reach")


def embedded(address: Address) -> list[Address]:
    """The addresses a packet to this one may end at: an IPv6 address may carry an IPv4 one in it.

    The carrier counts itself only where it is not just another spelling.
    """
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    found: list[Address] = [address]
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found += address.teredo
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        found.append(IPv4Address(int(address) & 0xFFFF_FFFF))
    return found


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks of CIDR texts. Raises ValueError."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def resolve(host: str) -> list[str]:
    """The system's addresses of a name, as its hosts file and name servers say. Raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


class Targets:
    """Finds addresses to connect to; bounded threads of its own do the waiting."""

    def __init__(self, guard: Guard, resolver: Resolver = resolve) -> None:
        self._guard, self._resolver = guard, resolver
        self._threads: ThreadPoolExecutor | None = None

    async def of(self, host: str) -> list[str]:
        """The addresses of a host that may be reached, in the resolver's order.

        Raises:
            Refused: none may be. OSError: the name has no address, or is none.
        """
        try:
            literal = ipaddress.ip_address(host)
        except ValueError:
            return await self._named(host)
        self._guard.judge(literal)
        return [str(literal)]

    async def _named(self, host: str) -> list[str]:
        if not host or len(host) > _HOST_MAX_CHARS or "\0" in host:
            raise OSError("this is no host name")
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, "check-resolving")
        found = await asyncio.get_running_loop().run_in_executor(self._threads, self._resolver, host)
        fine: list[str] = []
        refusal: Refused | None = None
        for text in found:
            # A scope (`fe80::1%eth0`) is a part of the text and of link-local addresses only.
            address = ipaddress.ip_address(text.partition("%")[0])
            try:
                self._guard.judge(address)
                fine.append(str(address))
            except Refused as error:
                refusal = error
        if fine:
            return fine
        raise refusal or OSError("the name has no address")

    def close(self) -> None:
        """Ends the threads; one that waits for a name server ends when that does."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
