"""What the names of the zone mean: which resolver is asked, and for what."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Mapping, Sequence
from typing import Final

from konsul.doors.dns import wire
from konsul.doors.dns.found import Found
from konsul.doors.dns.records import NAME_SERVER, Records
from konsul.doors.dns.words import REFUSED, is_lookup, type_name
from konsul.kernel.context import Context
from konsul.kernel.names import Answer, Question, Resolver, Target

REVERSE: Final = "arpa"
"""The label under which a resolver finds what has an address, given as text."""
TARGETS_MAX: Final = 1_000
"""Instances of a name that are known to the door; which of them are told changes with every answer."""
_FOUR: Final = (b"in-addr", b"arpa")
_SIX: Final = (b"ip6", b"arpa")
_NOTHING: Final = Answer(reads=frozenset())
_ABSENT: Final = Answer(exists=False, reads=frozenset())


class Zone:
    """One domain, answered from the tables of this node as they are: like every read without a barrier, on a
    follower it may be behind."""

    def __init__(self, records: Records, resolvers: Mapping[str, Resolver], own: Sequence[Target]) -> None:
        """`own`: addresses of this node, for its NS record."""
        self.records = records
        self._resolvers = resolvers
        self._own = own
        self._labels = records.zone
        self._datacenter = records.datacenter.decode()

    def holds(self, query: wire.Query) -> bool:
        """Whether the name is one of this zone, or of an address that something here may have."""
        labels = query.labels
        return labels[-len(self._labels) :] == self._labels or self._is_reverse(labels)

    def is_reverse(self, query: wire.Query) -> bool:
        """Whether it is the name of an address: if nothing here has it, others may know."""
        return self._is_reverse(query.labels)

    def _is_reverse(self, labels: tuple[bytes, ...]) -> bool:
        return labels[-2:] in (_FOUR, _SIX) and REVERSE in self._resolvers

    def look_up(self, ctx: Context, query: wire.Query, serial: int) -> Found | Awaitable[Found]:
        """What the name has of that type. Raises what a resolver raises."""
        if not is_lookup(query.type):
            return Found(REFUSED, flags=0)
        if self._is_reverse(query.labels):
            address = address_in(query.labels)
            if address is None:
                return self.records.absent(query, serial, _ABSENT, exists=False)
            return self._asked(ctx, query, serial, self._resolvers[REVERSE], (address,))
        below = query.labels[: -len(self._labels)]
        if not below:
            return self.records.apex(query, serial, self._own)
        if below == (NAME_SERVER,):
            return self.records.of(query, serial, Answer(self._own, reads=frozenset()))
        try:
            words = [label.decode("ascii") for label in below]
        except UnicodeDecodeError:
            return self.records.absent(query, serial, _ABSENT, exists=False)
        if words[-1] == self._datacenter:
            words.pop()
            if not words:
                return self.records.absent(query, serial, _NOTHING, exists=True)
        resolver = self._resolvers.get(words.pop())
        if resolver is None:
            return self.records.absent(query, serial, _ABSENT, exists=False)
        if not words:
            # Nothing is at `service.consul` itself, but names are below it (RFC 8020).
            return self.records.absent(query, serial, _NOTHING, exists=True)
        return self._asked(ctx, query, serial, resolver, tuple(words))

    def _asked(
        self, ctx: Context, query: wire.Query, serial: int, resolver: Resolver, labels: tuple[str, ...]
    ) -> Found | Awaitable[Found]:
        settings = self.records.settings
        question = Question(type_name(query.type), TARGETS_MAX, settings.only_passing, ctx.client_addr)
        answer = resolver.resolve(ctx, labels, question)
        if isinstance(answer, Answer):
            return self.records.of(query, serial, answer)
        return self._later(query, serial, answer)

    async def _later(self, query: wire.Query, serial: int, answer: Awaitable[Answer]) -> Found:
        return self.records.of(query, serial, await answer)


def address_in(labels: tuple[bytes, ...]) -> str | None:
    """The address whose name this is (RFC 1035, 3.5; RFC 3596, 2.5); None if it is none, or only a part."""
    parts = [label.decode("ascii", "replace") for label in reversed(labels[:-2])]
    try:
        if labels[-2:] == _FOUR:
            return str(ipaddress.IPv4Address(".".join(parts)))
        if len(parts) != 32 or any(len(part) != 1 for part in parts):
            return None
        return str(ipaddress.IPv6Address(int("".join(parts), 16)))
    except ValueError:
        return None
