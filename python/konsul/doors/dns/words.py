"""The numbers of DNS that this door knows, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

IN: Final = 1

A: Final = 1
NS: Final = 2
CNAME: Final = 5
SOA: Final = 6
PTR: Final = 12
HINFO: Final = 13
TXT: Final = 16
AAAA: Final = 28
SRV: Final = 33
OPT: Final = 41
ANY: Final = 255
_QUERY_ONLY: Final = 249
"""From TKEY on, types ask for something to be done; only ANY asks for records."""
TYPES: Final[Mapping[int, str]] = {
    A: "A",
    NS: "NS",
    CNAME: "CNAME",
    SOA: "SOA",
    PTR: "PTR",
    HINFO: "HINFO",
    TXT: "TXT",
    AAAA: "AAAA",
    SRV: "SRV",
    ANY: "ANY",
}
OTHER: Final = "other"

NOERROR: Final = 0
FORMERR: Final = 1
SERVFAIL: Final = 2
NXDOMAIN: Final = 3
NOTIMP: Final = 4
REFUSED: Final = 5
BADVERS: Final = 16
RCODES: Final[Mapping[int, str]] = {
    NOERROR: "NOERROR",
    FORMERR: "FORMERR",
    SERVFAIL: "SERVFAIL",
    NXDOMAIN: "NXDOMAIN",
    NOTIMP: "NOTIMP",
    REFUSED: "REFUSED",
    BADVERS: "BADVERS",
}


def type_name(kind: int) -> str:
    """The mnemonic, `other` for a type that no name here has."""
    return TYPES.get(kind, OTHER)


def is_lookup(kind: int) -> bool:
    """False for zone transfers, TKEY and other types that ask for more than records."""
    return kind == ANY or kind < _QUERY_ONLY or kind > ANY
