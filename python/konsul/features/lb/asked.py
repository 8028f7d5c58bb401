"""What a request for an instance may say besides what it asks for."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request

from konsul.errors import Invalid
from konsul.features.lb.config import LbSettings
from konsul.features.lb.rules import DROP, Warned, load_factor_of, strategy_of, warned_of
from konsul.features.lb.strategies import Strategy
from konsul.kernel.parameters import is_on, u64


@dataclass(frozen=True, slots=True)
class Wishes:
    """What one request wants. None and empty: as the service's rules say, else as the node does.

    `limit`: how many instances; None: one, and the answer has no list.
    """

    strategy: Strategy | None = None
    session: str = ""
    region: str = ""
    zone: str = ""
    client_ip: str = ""
    rule: str = ""
    warning: Warned | None = None
    load_factor: float | None = None
    limit: int | None = None


PLAIN: Final = Wishes()
_PARAMETERS: Final = {
    "strategy": "A strategy for this request.",
    "session": "What `ring-hash` and percentages keep on one instance; `session-key` is the same.",
    "region": "The client's region, for `latency-based`; `client-region` is the same.",
    "zone": "The client's zone, for `zone-aware`; else the node's own.",
    "client-ip": "The client's address for `ip-hash` and `ring-hash`, in place of the caller's.",
    "rule": "Only the instances of the service's rule of this name.",
    "warning": "`keep` or `drop`: instances with a warning.",
    "passing": "`true`: as `warning=drop`.",
    "load-factor": "For `ring-hash`: no instance above this many times the mean load, from 1.01.",
    "limit": "Several instances, best first, as `services`.",
}
EXTRA: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": text,
            "schema": {"type": "string"},
        }
        for name, text in _PARAMETERS.items()
    ]
}
"""The same in the OpenAPI document. Not as parameters of the routes: reading them one by one costs more than
choosing does."""


def wishes_of(request: Request, settings: LbSettings) -> Wishes:
    """What the request's parameters say.

    Raises:
        Invalid: one of them is none of its values.
    """
    said = request.query_params
    if not said:
        return PLAIN
    strategy, client_ip = said.get("strategy"), said.get("client-ip", "")
    warning = warned_of(said.get("warning") or None)
    return Wishes(
        strategy=strategy_of(strategy) if strategy else None,
        session=said.get("session") or said.get("session-key") or "",
        region=said.get("region") or said.get("client-region") or "",
        zone=said.get("zone", ""),
        client_ip=_address(client_ip) if client_ip else "",
        rule=said.get("rule", ""),
        warning=DROP if warning is None and is_on(said.get("passing")) else warning,
        load_factor=_factor(said.get("load-factor")),
        limit=_limit(said.get("limit"), settings.answers_max),
    )


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise Invalid("client-ip: expected an IP address") from None


def _factor(text: str | None) -> float | None:
    if not text:
        return None
    try:
        return load_factor_of(float(text))
    except ValueError:
        return load_factor_of(text)


def _limit(text: str | None, most: int) -> int | None:
    message = f"limit: expected a number from 1 to {most}"
    limit = u64(text, message)
    if limit is not None and not 1 <= limit <= most:
        raise Invalid(message)
    return limit
