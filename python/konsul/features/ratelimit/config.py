"""Settings of the rate limits: who is counted, how fast, and what a request costs."""

from __future__ import annotations

import re
from typing import Final

from konsul.kernel import route_classes
from konsul.kernel.config import Settings, between, setting
from konsul.kernel.values import BOOL, DURATION_MS, FLOAT, INT, LIST, TEXT

RATE_MIN: Final = 0.000_001
RATE_MAX: Final = 1e9
BURST_MAX: Final = 1_000_000_000
COST_MAX: Final = 1_000_000
ADMIN_PATH: Final = "/admin/ratelimit"
_DAY_MS: Final = 86_400_000
_COST: Final = re.compile(r"([a-z]+)=([0-9]{1,7})")
_RATE: Final = re.compile(r"([a-z]+)=([0-9]{1,10}(?:\.[0-9]{1,6})?)/([0-9]{1,10})")
_CLASSES: Final = ", ".join(route_classes.ALL)


def micros_of(tokens_per_second: float) -> int:
    """A rate in millionths of a token per second, as it is counted and kept."""
    return round(tokens_per_second * 1_000_000)


def is_rate(value: float) -> bool:
    """True for tokens per second that can be a rate."""
    return RATE_MIN <= value <= RATE_MAX


def _are_costs(items: tuple[str, ...]) -> str | None:
    found = [_COST.fullmatch(item) for item in items]
    if all(one and one[1] in route_classes.ALL and int(one[2]) <= COST_MAX for one in found):
        return None
    return f"class=tokens, separated by commas, such as batch=5,list=2; classes are {_CLASSES}"


def _are_rates(items: tuple[str, ...]) -> str | None:
    found = [_RATE.fullmatch(item) for item in items]
    sound = all(
        one and one[1] in route_classes.ALL and is_rate(float(one[2])) and 1 <= int(one[3]) <= BURST_MAX
        for one in found
    )
    if sound and len({item.partition("=")[0] for item in items}) == len(items):
        return None
    return f"class=tokens per second/burst, such as login=0.5/5, each class once; classes are {_CLASSES}"


def _is_admin_path(value: str) -> str | None:
    return None if value == ADMIN_PATH else f"{ADMIN_PATH}, the one path these routes have"


class RateLimitSettings(Settings):
    """Token buckets for clients."""

    enabled: bool = setting(
        "KONSUL_RATE_LIMIT_ENABLED",
        BOOL,
        default=False,
        doc="Limit how much each client may ask of this node; over it 429.",
    )
    requests_per_sec: float = setting(
        "KONSUL_RATE_LIMIT_REQUESTS_PER_SEC",
        FLOAT,
        default=100.0,
        doc="Tokens a client's bucket gets per second, until the cluster's configuration says otherwise.",
        check=between(RATE_MIN, RATE_MAX, "more than 0, from 0.000001 to 1000000000"),
    )
    burst: int = setting(
        "KONSUL_RATE_LIMIT_BURST",
        INT,
        default=20,
        doc="Tokens a client's bucket holds, which is what it may spend at once; see above.",
        check=between(1, BURST_MAX),
    )
    by_ip: bool = setting(
        "KONSUL_RATE_LIMIT_BY_IP",
        BOOL,
        default=True,
        doc="A bucket per client address; of IPv6 per /64.",
    )
    by_apikey: bool = setting(
        "KONSUL_RATE_LIMIT_BY_APIKEY",
        BOOL,
        default=False,
        doc="A bucket per API key, and per user who is logged in, in place of the address.",
    )
    cleanup_ms: int = setting(
        "KONSUL_RATE_LIMIT_CLEANUP",
        DURATION_MS,
        default=300_000,
        doc="Time between two rounds that forget full buckets nobody used for 5 minutes.",
        check=between(1_000, _DAY_MS, "1s to 24h"),
    )
    clients_max: int = setting(
        "KONSUL_RATE_LIMIT_MAX_CLIENTS",
        INT,
        default=100_000,
        doc="Most buckets of addresses, and again of keys and of users; those beyond share one.",
        check=between(1, 10_000_000),
    )
    entries_max: int = setting(
        "KONSUL_RATE_LIMIT_MAX_ENTRIES",
        INT,
        default=10_000,
        doc="Most entries of both lists together, and most clients with a rate of their own.",
        check=between(1, 100_000),
    )
    costs: tuple[str, ...] = setting(
        "KONSUL_RATE_LIMIT_COSTS",
        LIST,
        default=(),
        doc=f"Tokens a request costs by its class, such as `batch=5,list=2`; 1 if not named. "
        f"Classes: {_CLASSES}.",
        check=_are_costs,
    )
    class_rates: tuple[str, ...] = setting(
        "KONSUL_RATE_LIMIT_CLASS_RATES",
        LIST,
        default=(),
        doc="Classes with buckets of their own, as tokens per second and burst: `login=0.5/5,batch=10/20`.",
        check=_are_rates,
    )
    items_per_token: int = setting(
        "KONSUL_RATE_LIMIT_ITEMS_PER_TOKEN",
        INT,
        default=50,
        doc="Items of a batch that cost one more token; 0: they cost nothing.",
        check=between(0, COST_MAX),
    )
    complexity_per_token: int = setting(
        "KONSUL_RATE_LIMIT_COMPLEXITY_PER_TOKEN",
        INT,
        default=100,
        doc="Complexity of a GraphQL operation that costs one more token; 0: it costs nothing.",
        check=between(0, COST_MAX),
    )
    history_size: int = setting(
        "KONSUL_RATE_LIMIT_HISTORY_SIZE",
        INT,
        default=1_000,
        doc="Refusals this node remembers, for `konsulctl ratelimit watch`; 0: none.",
        check=between(0, 100_000),
    )
    headers_enabled: bool = setting(
        "KONSUL_RATE_LIMIT_HEADERS_ENABLED",
        BOOL,
        default=True,
        doc="Tell clients what they have left: `X-RateLimit-*`, `RateLimit` and `RateLimit-Policy`.",
    )
    management_enabled: bool = setting(
        "KONSUL_RATE_LIMIT_MANAGEMENT_ENABLED",
        BOOL,
        default=True,
        doc="Serve `/admin/ratelimit`.",
    )
    admin_path: str = setting(
        "KONSUL_RATE_LIMIT_ADMIN_PATH",
        TEXT,
        default=ADMIN_PATH,
        doc=f"Accepted as `{ADMIN_PATH}` only.",
        check=_is_admin_path,
    )

    def problem(self) -> str | None:
        """A limit that counts nobody would limit nothing."""
        if self.enabled and not (self.by_ip or self.by_apikey):
            return (
                "KONSUL_RATE_LIMIT_BY_IP and KONSUL_RATE_LIMIT_BY_APIKEY are both off: at least one must be "
                "on, or nobody would be limited"
            )
        return None

    def cost_of(self, route_class: str) -> int:
        """Tokens a request of the class costs at first."""
        given = dict(item.split("=") for item in self.costs)
        return int(given.get(route_class, 1))

    def own_rate_of(self, route_class: str) -> tuple[str, int, int] | None:
        """Name, millionths of a token per second and burst of a class that has its own buckets."""
        for item in self.class_rates:
            found = _RATE.fullmatch(item)
            if found is not None and found[1] == route_class:
                return route_class, micros_of(float(found[2])), int(found[3])
        return None
