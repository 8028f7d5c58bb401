"""The wire format of RFC 1035 as far as this door speaks it: questions in, records out.

Written here because it is the hot path: through a library's message objects one question and one answer take
260 us, five times what there is for it (docs/decisions/dns-wire.md). The tests use that library.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from konsul.doors.dns.words import BADVERS, FORMERR, IN, NOTIMP, OPT, REFUSED

HEADER: Final = 12
PLAIN_MAX_BYTES: Final = 512
"""The largest answer to who says nothing of sizes (RFC 1035, 4.2.1)."""
MESSAGE_MAX_BYTES: Final = 65_535
LABEL_MAX: Final = 63
NAME_MAX: Final = 255
_RECORDS_MAX: Final = 4
"""Additional records of a question that are looked at: OPT, and what no client sends beside it."""
QR: Final = 0x8000
AA: Final = 0x0400
TC: Final = 0x0200
RD: Final = 0x0100
RA: Final = 0x0080
_CD: Final = 0x0010
_OPCODE: Final = 0x7800
_HEAD = struct.Struct("!HHHHHH")
_FIXED = struct.Struct("!HHIH")
_PAIR = struct.Struct("!HH")
QUESTION_AT: Final = b"\xc0\x0c"
"""A pointer to the name of the question, which begins where the header ends."""


class Refused(Exception):
    """A message that is no question to be looked up; `rcode` is what it is answered."""

    def __init__(self, rcode: int, question: bytes = b"", edns: Edns | None = None) -> None:
        super().__init__(rcode)
        self.rcode = rcode
        self.question = question
        self.edns = edns


@dataclass(frozen=True, slots=True)
class Edns:
    """What a question's OPT record says (RFC 6891)."""

    max_bytes: int
    """The largest answer it takes over UDP, at least 512."""
    version: int


@dataclass(frozen=True, slots=True)
class Query:
    """One question."""

    flags: int
    labels: tuple[bytes, ...]
    """In lower case, the root left out."""
    type: int
    question: bytes
    """Name, type and class as they came."""
    folded: bytes
    """`question` with its name in lower case."""
    edns: Edns | None


def parse(data: bytes) -> Query | None:
    """The question of a message; None for one that is not to be answered at all: an answer, or too short.

    Raises:
        Refused: it is answered with an error.
    """
    if len(data) < HEADER:
        return None
    _, flags, questions, answers, authority, additional = _HEAD.unpack_from(data)
    if flags & QR:
        return None
    if flags & _OPCODE:
        raise Refused(NOTIMP)
    if questions != 1 or answers or authority or additional > _RECORDS_MAX:
        raise Refused(FORMERR)
    labels, at = _name(data)
    if at + 4 > len(data):
        raise Refused(FORMERR)
    kind, group = _PAIR.unpack_from(data, at)
    question = data[HEADER : at + 4]
    edns, end = _additional(data, at + 4, additional)
    if end != len(data) or kind == OPT:
        raise Refused(FORMERR, question, edns)
    if edns is not None and edns.version:
        raise Refused(BADVERS, question, edns)
    folded = question[:-4].lower() + question[-4:]
    if group != IN:
        raise Refused(REFUSED, question, edns)
    return Query(flags, labels, kind, question, folded, edns)


def _name(data: bytes) -> tuple[tuple[bytes, ...], int]:
    """The labels of the question's name in lower case, and its end. A pointer has nothing to point to."""
    labels: list[bytes] = []
    at, size = HEADER, len(data)
    while at < size:
        length = data[at]
        if not length:
            return tuple(labels), at + 1
        if length > LABEL_MAX or at + length - HEADER > NAME_MAX - 2:
            break
        at += 1 + length
        labels.append(data[at - length : at].lower())
    raise Refused(FORMERR)


def _additional(data: bytes, at: int, count: int) -> tuple[Edns | None, int]:
    edns: Edns | None = None
    for _ in range(count):
        start = at
        at = _after_name(data, at)
        if at + _FIXED.size > len(data):
            raise Refused(FORMERR)
        kind, group, ttl, length = _FIXED.unpack_from(data, at)
        at += _FIXED.size + length
        if at > len(data):
            raise Refused(FORMERR)
        if kind == OPT:
            if edns is not None or data[start]:
                raise Refused(FORMERR)
            edns = Edns(max(group, PLAIN_MAX_BYTES), ttl >> 16 & 0xFF)
    return edns, at


def _after_name(data: bytes, at: int) -> int:
    """Where a name ends. Pointers are not followed, so that none can lead round in circles."""
    while at < len(data):
        length = data[at]
        if not length:
            return at + 1
        if length >= 0xC0:
            return at + 2
        if length > LABEL_MAX:
            break
        at += 1 + length
    raise Refused(FORMERR)


def flags_of(query_flags: int, rcode: int, *, extra: int = 0) -> int:
    """The flags of an answer: opcode, RD and CD as asked."""
    return QR | query_flags & (_OPCODE | RD | _CD) | extra | rcode & 0xF


def head(flags: int, questions: int, answers: int, authority: int, additional: int) -> bytes:
    """Flags and counts: a header without its id."""
    return _HEAD.pack(0, flags, questions, answers, authority, additional)[2:]


def opt(max_bytes: int, rcode: int = 0) -> bytes:
    """The OPT record of an answer. No option: neither NSID nor cookies."""
    return b"\x00" + _FIXED.pack(OPT, max_bytes, (rcode >> 4) << 24, 0)


def name_of(labels: Iterable[bytes]) -> bytes:
    """A name without compression.

    Raises:
        ValueError: it is too long for the wire, or has an empty label.
    """
    wire = b""
    for label in labels:
        if not 0 < len(label) <= LABEL_MAX:
            raise ValueError("a label is 1 to 63 bytes")
        wire += bytes((len(label),)) + label
    if len(wire) >= NAME_MAX:
        raise ValueError("a name is at most 255 bytes")
    return wire + b"\x00"


def labels_of(name: str) -> tuple[bytes, ...]:
    """The labels of a name in text, its last dot left out.

    Raises:
        ValueError: it is not ASCII.
    """
    bare = name.removesuffix(".")
    return tuple(bare.encode("ascii").split(b".")) if bare else ()


def record(owner: bytes, kind: int, ttl_s: int, rdata: bytes) -> bytes:
    """One record of class IN."""
    return owner + _FIXED.pack(kind, IN, ttl_s, len(rdata)) + rdata


def address_of(text: str) -> bytes | None:
    """4 or 16 bytes of an address; None for the name of a host."""
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, ValueError):
        return None


def strings(texts: Iterable[bytes]) -> bytes:
    """Character strings, as TXT and HINFO hold them; each at most 255 bytes."""
    return b"".join(bytes((len(text),)) + text for text in texts)
