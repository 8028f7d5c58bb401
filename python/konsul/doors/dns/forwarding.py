"""Names of other zones: sent on to recursors, one after the other; only an answer to the question counts."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
from typing import Final

from konsul.doors.dns import wire
from konsul.doors.dns.counters import Counters
from konsul.kernel.address import split_address
from konsul.kernel.dns_settings import DnsSettings

_QUESTION_AT: Final = wire.HEADER
_STRAY_MAX: Final = 64
"""Datagrams that are no answer to the question, until the recursor is given up: somebody is guessing."""


class NoAnswer(Exception):
    """No recursor answered."""


class Forwarding:
    """Asks the recursors of this node. Each question has a socket, a port and an id of its own, all drawn at
    random, so that an answer cannot be forged by who does not see the question (RFC 5452)."""

    def __init__(self, settings: DnsSettings, counters: Counters) -> None:
        self._servers = [split_address(item) for item in settings.recursors]
        self._timeout_s = settings.recursor_timeout_ms / 1_000
        self._for = [ipaddress.ip_network(item, strict=False) for item in settings.recursion_networks]
        self._counters = counters

    def serves(self, query: wire.Query, address: str) -> bool:
        """Whether a question from there is sent on: it wants that, and nobody far away can use this node."""
        if not self._servers or not query.flags & wire.RD:
            return False
        found = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        return any(found in network for network in self._for)

    async def ask(self, data: bytes, query: wire.Query, *, over_tcp: bool) -> bytes:
        """The first recursor's answer to the message `data`, with its id.

        Raises:
            NoAnswer: none answered in time, or all that came was no answer to it.
        """
        for server in self._servers:
            asked = secrets.token_bytes(2) + data[2:]
            try:
                async with asyncio.timeout(self._timeout_s):
                    found = await (_over_tcp if over_tcp else _over_udp)(server, asked, query)
            except (TimeoutError, OSError, ValueError, asyncio.IncompleteReadError):
                self._counters.recursions["failed"] += 1
                continue
            self._counters.recursions["answered"] += 1
            return data[:2] + found[2:]
        raise NoAnswer


def answers(asked: bytes, query: wire.Query, found: bytes) -> bool:
    """Whether `found` answers `asked`: the same id and question, and QR set."""
    end = _QUESTION_AT + len(query.question)
    return (
        len(found) >= end
        and found[:2] == asked[:2]
        and bool(found[2] & 0x80)
        and found[4:6] == b"\x00\x01"
        and _folded(found[_QUESTION_AT:end]) == query.folded
    )


def _folded(question: bytes) -> bytes:
    return question[:-4].lower() + question[-4:]


async def _over_udp(server: tuple[str, int], asked: bytes, query: wire.Query) -> bytes:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as line:
        # Connected: the system gives it a port at random, and takes datagrams of this server only.
        line.connect(server)
        line.send(asked)
        for _ in range(_STRAY_MAX):
            found = await loop.sock_recv(line, wire.MESSAGE_MAX_BYTES)
            if answers(asked, query, found):
                return found
    raise ValueError("no answer to the question")


async def _over_tcp(server: tuple[str, int], asked: bytes, query: wire.Query) -> bytes:
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(len(asked).to_bytes(2) + asked)
        found = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
    finally:
        writer.transport.abort()
    if not answers(asked, query, found):
        raise ValueError("no answer to the question")
    return found
