"""Network addresses as settings and requests write them: `host:port`, an IPv6 host in brackets."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from konsul.kernel.values import ValueKind

EXPECTED: Final = "host:port, such as 10.0.0.7:7000 or [fd00::7]:7000"
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?|[A-Za-z0-9]", re.ASCII)
_FORM: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([^\[\]:\s]{1,254})):([0-9]{1,5})", re.ASCII)


def split_address(text: str) -> tuple[str, int]:
    """Host (an IPv6 one without its brackets) and port of `host:port`.

    Raises:
        ValueError: it is none.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not {EXPECTED}")
    port = int(match[3])
    if match[1]:
        host = str(ipaddress.IPv6Address(match[1]))
    else:
        host = match[2]
        if _HOST.fullmatch(host) is None:
            raise ValueError(f"{text!r} is not {EXPECTED}")
    if not 1 <= port <= 65_535:
        raise ValueError(f"{text!r} has no port from 1 to 65535")
    return host, port


def join_address(host: str, port: int) -> str:
    """Writes `host:port`, an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """True if only this machine reaches it. A name counts only when it is `localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_unspecified(host: str) -> bool:
    """True for `0.0.0.0` and `::`, which say nothing about where a node is."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _read(text: str) -> str:
    return join_address(*split_address(text))


def _read_many(text: str) -> tuple[str, ...]:
    return tuple(_read(item.strip()) for item in text.split(",") if item.strip())


def _read_peers(text: str) -> tuple[tuple[str, str], ...]:
    found = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, address = item.partition("@")
        if not name or not address:
            raise ValueError
        found.append((name, _read(address)))
    return tuple(found)


ADDRESS: Final = ValueKind("host:port", EXPECTED, _read)
ADDRESSES: Final = ValueKind("list", "addresses host:port with commas between them", _read_many, ",".join)
PEERS: Final = ValueKind(
    "list",
    "members id@host:port with commas between them",
    _read_peers,
    lambda peers: ",".join(f"{name}@{address}" for name, address in peers),
)
