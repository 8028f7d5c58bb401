"""The settings of the DNS door."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from konsul.kernel.address import join_address, split_address
from konsul.kernel.config import Settings, between, setting
from konsul.kernel.values import BOOL, BYTES, DURATION_MS, INT, LIST, TEXT, ValueKind

_DAY_MS: Final = 86_400_000
_DOMAIN_MAX: Final = 128
_PART: Final = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_DOMAIN: Final = re.compile(rf"{_PART}(\.{_PART})*")
_LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_POLICIES_MAX: Final = 64
"""What an identity may have."""
_PRIVATE: Final = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
)
_TTL: Final = between(0, 7 * _DAY_MS, "0 to 168h")
_SPAN: Final = between(1, _DAY_MS, "1ms to 24h")
_DNS_PORT: Final = 53


def _read_recursors(text: str) -> tuple[str, ...]:
    found = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        try:
            found.append(join_address(str(ipaddress.ip_address(item.strip("[]"))), _DNS_PORT))
        except ValueError:
            host, port = split_address(item)
            found.append(join_address(str(ipaddress.ip_address(host)), port))
    return tuple(found)


RECURSORS: Final = ValueKind(
    "list",
    "IP addresses, each with a port unless it is 53, with commas between them",
    _read_recursors,
    ",".join,
)


def _is_domain(name: str) -> str | None:
    bare = name.removesuffix(".")
    is_one = len(bare) <= _DOMAIN_MAX and _DOMAIN.fullmatch(bare) is not None
    return (
        None
        if is_one
        else f"a domain name of at most {_DOMAIN_MAX} characters, such as consul or dc1.example"
    )


def _are_so_many(names: tuple[str, ...]) -> str | None:
    return None if len(names) <= _POLICIES_MAX else f"at most {_POLICIES_MAX} names"


def _is_label(name: str) -> str | None:
    return None if _LABEL.fullmatch(name) else "letters, digits and dashes, at most 63"


def _are_networks(items: tuple[str, ...]) -> str | None:
    try:
        for item in items:
            ipaddress.ip_network(item, strict=False)
    except ValueError:
        return "addresses or networks such as 10.0.0.0/8 or fd00::/8, separated by commas"
    return None


class DnsSettings(Settings):
    """The DNS door."""

    enabled: bool = setting(
        "KONSUL_DNS_ENABLED",
        BOOL,
        default=True,
        doc="Answer DNS, UDP and TCP; a taken port stops the start.",
    )
    host: str = setting(
        "KONSUL_DNS_HOST", TEXT, default="", doc="Listen address of DNS. Empty: where HTTP listens."
    )
    port: int = setting(
        "KONSUL_DNS_PORT",
        INT,
        default=8600,
        doc="Port of DNS, UDP and TCP; 0: any free one, told in the log.",
        check=between(0, 65_535, "a port from 0 to 65535"),
    )
    domain: str = setting(
        "KONSUL_DNS_DOMAIN",
        TEXT,
        default="consul",
        doc="The zone that is answered: `web.service.consul`.",
        check=_is_domain,
    )
    datacenter: str = setting(
        "KONSUL_DATACENTER",
        TEXT,
        default="dc1",
        doc="The name of this datacentre, which a DNS name may say: `web.service.dc1.consul`.",
        check=_is_label,
    )
    ttl_ms: int = setting(
        "KONSUL_DNS_TTL",
        DURATION_MS,
        default=30_000,
        doc="How long resolvers may keep an answer, in whole seconds; metadata `dns_ttl` of a service first.",
        check=_TTL,
    )
    negative_ttl_ms: int = setting(
        "KONSUL_DNS_NEGATIVE_TTL",
        DURATION_MS,
        default=5_000,
        doc="How long they may keep that there is no such name or record (RFC 2308). Whole seconds.",
        check=_TTL,
    )
    only_passing: bool = setting(
        "KONSUL_DNS_ONLY_PASSING",
        BOOL,
        default=False,
        doc="Answer only instances that pass; off: also those that warn. Critical ones are never answered.",
    )
    max_answers: int = setting(
        "KONSUL_DNS_MAX_ANSWERS",
        INT,
        default=64,
        doc="Most instances of an answer; of more, a random part.",
        check=between(1, 1_000),
    )
    udp_max_bytes: int = setting(
        "KONSUL_DNS_UDP_MAX_BYTES",
        BYTES,
        default=1_232,
        doc="Largest answer over UDP, if the client takes as much; beyond it the client is sent to TCP.",
        check=between(512, 4_096, "512 to 4KiB"),
    )
    cache_entries: int = setting(
        "KONSUL_DNS_CACHE_ENTRIES",
        INT,
        default=20_000,
        doc="Most ready answers kept; 0: none. One goes the moment what it was made of changes.",
        check=between(0, 1_000_000),
    )
    tcp_connections: int = setting(
        "KONSUL_DNS_TCP_CONNECTIONS",
        INT,
        default=512,
        doc="Most open TCP connections; beyond them new ones are closed.",
        check=between(1, 10_000),
    )
    tcp_per_client: int = setting(
        "KONSUL_DNS_TCP_PER_CLIENT",
        INT,
        default=64,
        doc="Most of them from one address.",
        check=between(1, 10_000),
    )
    tcp_idle_ms: int = setting(
        "KONSUL_DNS_TCP_IDLE",
        DURATION_MS,
        default=10_000,
        doc="Time a TCP connection may take for a whole question, and to read its answers.",
        check=_SPAN,
    )
    inflight_max: int = setting(
        "KONSUL_DNS_INFLIGHT",
        INT,
        default=1_000,
        doc="Most questions that wait for something, such as a recursor; beyond them SERVFAIL.",
        check=between(1, 100_000),
    )
    recursors: tuple[str, ...] = setting(
        "KONSUL_DNS_RECURSORS",
        RECURSORS,
        default=(),
        doc="Servers that are asked, one after the other, for names of other zones. None: those are refused.",
    )
    recursor_timeout_ms: int = setting(
        "KONSUL_DNS_RECURSOR_TIMEOUT",
        DURATION_MS,
        default=2_000,
        doc="Time one of them has to answer before the next is asked.",
        check=between(1, 60_000, "1ms to 1m"),
    )
    recursion_networks: tuple[str, ...] = setting(
        "KONSUL_DNS_RECURSION_NETWORKS",
        LIST,
        default=_PRIVATE,
        doc="Whose questions are sent on to recursors: a resolver that is open to everybody is misused.",
        check=_are_networks,
    )
    rrl_responses_per_s: int = setting(
        "KONSUL_DNS_RRL_RESPONSES_PER_SEC",
        INT,
        default=1_000,
        doc="Most answers to one question per second over UDP and client network (/24, /56); 0: no limit.",
        check=between(0, 1_000_000),
    )
    rrl_slip: int = setting(
        "KONSUL_DNS_RRL_SLIP",
        INT,
        default=2,
        doc="Of answers beyond that, every so manieth tells the client to use TCP, the others are not sent; "
        "0: none is.",
        check=between(0, 10),
    )
    rrl_exempt: tuple[str, ...] = setting(
        "KONSUL_DNS_RRL_EXEMPT",
        LIST,
        default=("127.0.0.0/8", "::1/128"),
        doc="Networks whose questions are not limited: no address of theirs is forged, or you trust them.",
        check=_are_networks,
    )
    policies: tuple[str, ...] = setting(
        "KONSUL_DNS_POLICIES",
        LIST,
        default=(),
        doc="Policies that say what DNS may tell, as nobody brings credentials. With none it tells "
        "nothing where credentials are required.",
        check=_are_so_many,
    )

    @property
    def zone(self) -> str:
        """The domain without its last dot, in lower case."""
        return self.domain.removesuffix(".").lower()

    @property
    def ttl_s(self) -> int:
        """As records say it."""
        return self.ttl_ms // 1_000

    @property
    def negative_ttl_s(self) -> int:
        """As the SOA record says it."""
        return self.negative_ttl_ms // 1_000
