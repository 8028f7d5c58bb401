"""A check as it is run: the members of its stored definition, with times in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from konsul.features.checks.damping import Thresholds
from konsul.kernel.duration import parse_duration_ms

INTERVAL: Final = "30s"
TIMEOUT: Final = "10s"
RUN: Final = frozenset(("http", "tcp", "grpc", "udp", "script", "alias"))
"""The types that somebody runs; the others are told."""
ALIAS_EVERY_S: Final = 1.0
"""An alias looks into tables that are here: it costs no packet, and must not lag by an interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One check. Empty where its type has no use for it."""

    type: str
    interval_s: float
    timeout_s: float
    thresholds: Thresholds
    http: str = ""
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    expected_status: tuple[tuple[int, int], ...] = ()
    """Ranges of status codes, both ends included; empty: the rule of three classes."""
    expected_body: str = ""
    tcp: str = ""
    udp: str = ""
    grpc: str = ""
    grpc_use_tls: bool = False
    tls_skip_verify: bool = False
    tls_server_name: str = ""
    script: tuple[str, ...] = ()
    alias_service: str = ""
    alias_node: str = ""


def definition_of(type: str, packed: bytes) -> Definition:
    """From a check's type and its stored JSON. Raises ValueError, KeyError for what cannot be read."""
    members: dict[str, Any] = orjson.loads(packed)
    interval_s = parse_duration_ms(members.get("interval") or INTERVAL) / 1_000
    before_critical = int(members.get("failures_before_critical") or 1)
    return Definition(
        type=type,
        interval_s=min(interval_s, ALIAS_EVERY_S) if type == "alias" else interval_s,
        timeout_s=parse_duration_ms(members.get("timeout") or TIMEOUT) / 1_000,
        thresholds=Thresholds(
            successes=int(members.get("success_before_passing") or 1),
            before_critical=before_critical,
            before_warning=int(members.get("failures_before_warning") or 0),
        ),
        http=members.get("http") or "",
        method=members.get("method") or "GET",
        headers=dict(members.get("headers") or {}),
        body=members.get("body") or "",
        expected_status=ranges_of(members.get("expected_status") or ""),
        expected_body=members.get("expected_body") or "",
        tcp=members.get("tcp") or "",
        udp=members.get("udp") or "",
        grpc=members.get("grpc") or "",
        grpc_use_tls=bool(members.get("grpc_use_tls")),
        tls_skip_verify=bool(members.get("tls_skip_verify")),
        tls_server_name=members.get("tls_server_name") or "",
        script=tuple(members.get("script") or ()),
        alias_service=members.get("alias_service") or "",
        alias_node=members.get("alias_node") or "",
    )


def ranges_of(text: str) -> tuple[tuple[int, int], ...]:
    """Of `200-299,301` the ranges. Raises ValueError."""
    found: list[tuple[int, int]] = []
    for part in filter(None, (item.strip() for item in text.split(","))):
        low, dash, high = part.partition("-")
        found.append((int(low), int(high if dash else low)))
    return tuple(found)


def host_and_port(text: str) -> tuple[str, int]:
    """Of `host:port` or `[v6]:port` both. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdecimal() or not 1 <= int(port) <= 65_535:
        raise ValueError(f"{text!r} is not host:port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address stands in brackets")
    return host, int(port)
