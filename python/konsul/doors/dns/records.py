"""From what a resolver found to the records of an answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from konsul.doors.dns import wire
from konsul.doors.dns.found import Found
from konsul.doors.dns.words import (
    AAAA,
    ANY,
    CNAME,
    HINFO,
    NOERROR,
    NS,
    NXDOMAIN,
    PTR,
    SOA,
    SRV,
    TXT,
    A,
)
from konsul.kernel.dns_settings import DnsSettings
from konsul.kernel.names import Answer, Target

ADDR: Final = b"addr"
NODE: Final = b"node"
SERVICE: Final = b"service"
NAME_SERVER: Final = b"ns"
_REFRESH_S: Final = 3_600
_RETRY_S: Final = 600
_EXPIRE_S: Final = 86_400
_FAMILY: Final = {A: 4, AAAA: 16}
_STRING_MAX: Final = 255
_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]|\.(?=[^.]))*\.?", re.ASCII)


class Records:
    """Writes the records of one zone."""

    def __init__(self, settings: DnsSettings) -> None:
        self.settings = settings
        self.zone = wire.labels_of(settings.zone)
        self.datacenter = settings.datacenter.lower().encode()
        self._zone_wire = wire.name_of(self.zone)

    def absent(self, query: wire.Query, serial: int, answer: Answer, *, exists: bool) -> Found:
        """NODATA or NXDOMAIN, with the SOA record that says for how long that holds (RFC 2308, 3)."""
        settings = self.settings
        soa = self._soa(query, serial, settings.negative_ttl_s)
        rcode = NOERROR if exists else NXDOMAIN
        return Found(rcode, authority=(soa,), shows=answer.shows, reads=answer.reads)

    def of(self, query: wire.Query, serial: int, answer: Answer) -> Found:
        """The records of type `query.type` of what was found."""
        if not answer.exists:
            return self.absent(query, serial, answer, exists=False)
        ttl_s = self.settings.ttl_s if answer.ttl_s is None else answer.ttl_s
        additional: list[bytes] = []
        answers: Sequence[bytes] = ()
        if query.type in _FAMILY:
            answers = _addresses(query.type, ttl_s, answer.targets)
        elif query.type == CNAME:
            answers = _host(ttl_s, answer.targets)
        elif query.type == SRV:
            answers, additional = self._services(query, ttl_s, answer.targets)
        elif query.type == TXT:
            answers = _texts(ttl_s, answer.targets)
        elif query.type == PTR:
            answers = self._pointers(ttl_s, answer.targets)
        elif query.type == ANY:
            # One small record in place of all there are, which nobody should ask for (RFC 8482, 4.2).
            answers = [wire.record(wire.QUESTION_AT, HINFO, ttl_s, wire.strings((b"RFC8482", b"")))]
        if not answers:
            return self.absent(query, serial, answer, exists=True)
        return Found(NOERROR, answers, additional, shows=answer.shows, reads=answer.reads)

    def apex(self, query: wire.Query, serial: int, own: Sequence[Target]) -> Found:
        """The zone itself: who serves it, and since which change. `own`: where this node is."""
        nothing = Answer(reads=frozenset())
        ttl_s = self.settings.ttl_s
        if query.type == SOA:
            return Found(NOERROR, (self._soa(query, serial, ttl_s),))
        if query.type == NS:
            name = self._name(NAME_SERVER)
            server = wire.record(wire.QUESTION_AT, NS, ttl_s, name)
            owner = self._owner(query, NAME_SERVER)
            glue = [wire.record(owner, kind, ttl_s, packed) for kind, packed in _packed(own)]
            return Found(NOERROR, (server,), glue[:1], reads=frozenset())
        if query.type == ANY:
            return self.of(query, serial, nothing)
        return self.absent(query, serial, nothing, exists=True)

    def _soa(self, query: wire.Query, serial: int, ttl_s: int) -> bytes:
        settings = self.settings
        times = (serial & 0xFFFF_FFFF, _REFRESH_S, _RETRY_S, _EXPIRE_S, settings.negative_ttl_s)
        owner = self._owner(query)
        rdata = b"\x02ns" + owner + b"\x0ahostmaster" + owner
        return wire.record(owner, SOA, ttl_s, rdata + b"".join(one.to_bytes(4) for one in times))

    def _owner(self, query: wire.Query, *labels: bytes) -> bytes:
        """A name in the zone; what it shares with the question is a pointer."""
        at = wire.HEADER + len(query.folded) - 4 - len(self._zone_wire)
        if query.labels[-len(self.zone) :] != self.zone:
            return self._name(*labels)
        return wire.name_of(labels)[:-1] + (0xC000 | at).to_bytes(2)

    def _name(self, *labels: bytes) -> bytes:
        return wire.name_of((*labels, *self.zone))

    def _services(
        self, query: wire.Query, ttl_s: int, targets: Iterable[Target]
    ) -> tuple[list[bytes], list[bytes]]:
        """SRV records, each with the address of its target, whose name is not compressed (RFC 2782)."""
        found: dict[bytes, bytes] = {}
        for target in targets:
            if not target.port:
                continue
            packed = wire.address_of(target.address)
            name, more = _host_name(target.address), b""
            if packed is not None:
                labels = self._labels_of(target, packed)
                name = self._name(*labels)
                kind = A if len(packed) == 4 else AAAA
                more = wire.record(self._owner(query, *labels), kind, ttl_s, packed)
            if name is None:
                continue
            numbers = (target.priority, target.weight, target.port)
            rdata = b"".join(number.to_bytes(2) for number in numbers) + name
            found[wire.record(wire.QUESTION_AT, SRV, ttl_s, rdata)] = more
        return list(found), list(found.values())

    def _labels_of(self, target: Target, packed: bytes) -> tuple[bytes, ...]:
        if target.node is not None:
            return target.node.encode(), NODE, self.datacenter
        return packed.hex().encode(), ADDR, self.datacenter

    def _pointers(self, ttl_s: int, targets: Iterable[Target]) -> list[bytes]:
        found: dict[bytes, None] = {}
        for target in targets:
            below = NODE if target.node is not None else SERVICE
            labels = wire.labels_of(target.node or target.name)
            try:
                name = self._name(*labels, below, self.datacenter)
            except ValueError:
                continue
            found[wire.record(wire.QUESTION_AT, PTR, ttl_s, name)] = None
        return list(found)


def _packed(targets: Iterable[Target]) -> Iterable[tuple[int, bytes]]:
    for target in targets:
        packed = wire.address_of(target.address)
        if packed is not None:
            yield A if len(packed) == 4 else AAAA, packed


def _addresses(kind: int, ttl_s: int, targets: Sequence[Target]) -> Sequence[bytes]:
    """Addresses of that family. A name may have only one alias and nothing beside it (RFC 1034, 3.6.2): where
    nothing has an address, one of the hosts."""
    every = [wire.address_of(target.address) for target in targets]
    if every and not any(every):
        return _host(ttl_s, targets)
    size = _FAMILY[kind]
    fitting = dict.fromkeys(packed for packed in every if packed is not None and len(packed) == size)
    return [wire.record(wire.QUESTION_AT, kind, ttl_s, packed) for packed in fitting]


def _host(ttl_s: int, targets: Iterable[Target]) -> Sequence[bytes]:
    for target in targets:
        name = None if wire.address_of(target.address) else _host_name(target.address)
        if name is not None:
            return [wire.record(wire.QUESTION_AT, CNAME, ttl_s, name)]
    return ()


def _host_name(text: str) -> bytes | None:
    if _HOST.fullmatch(text) is None:
        return None
    try:
        name = wire.name_of(wire.labels_of(text))
    except ValueError:
        return None
    return name


def _texts(ttl_s: int, targets: Iterable[Target]) -> list[bytes]:
    """One record per instance, one string per pair of its metadata (RFC 6763, 6); what no string can hold is
    left out."""
    found: dict[bytes, None] = {}
    for target in targets:
        pairs = [f"{key}={value}".encode() for key, value in sorted(target.meta.items())]
        rdata = wire.strings(pair for pair in pairs if len(pair) <= _STRING_MAX)
        if rdata:
            found[wire.record(wire.QUESTION_AT, TXT, ttl_s, rdata)] = None
    return list(found)
