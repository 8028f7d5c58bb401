"""What can be said of how a service is balanced: checked strictly, written one way.

A misspelt member is refused: a rule that is silently not there sends everybody to the canary.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import orjson

from konsul.errors import Invalid
from konsul.features.lb.hashing import BASIS, LOAD_FACTOR_MAX, LOAD_FACTOR_MIN
from konsul.features.lb.splits import Share, whole
from konsul.features.lb.strategies import FULL_PERCENT, Strategy

Warned: TypeAlias = Literal["keep", "drop"]
KEEP: Final = "keep"
DROP: Final = "drop"
NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
MATCHES_MAX: Final = 32
TEXT_MAX_BYTES: Final = 768
UNKNOWN_STRATEGY: Final = "Invalid strategy. Must be one of: " + ", ".join(Strategy)
SPLIT: Final = ("rules", "active", "strict")
"""The members that say which part of the instances a request is for."""
_MEMBERS: Final = ("strategy", "warning", "warning_weight_percent", "zone", "load_factor", *SPLIT)
_ZONE: Final = ("prefer", "min_percent")
_RULE: Final = ("name", "percent", "tags", "meta")


@dataclass(frozen=True, slots=True)
class Rules:
    """How one service is balanced; a member that says nothing leaves it to the request and to the node.

    `warning_percent`: of its weight what an instance with a warning keeps. `zone_first`: other strategies,
    too, choose in the client's zone. `active`: the named rule that gets every request. `strict`: a part
    without an instance that serves is not replaced by others.
    """

    strategy: Strategy | None = None
    warning: Warned | None = None
    warning_percent: int = FULL_PERCENT
    zone_first: bool | None = None
    zone_min_percent: int | None = None
    load_factor: float | None = None
    shares: tuple[Share, ...] = ()
    active: str | None = None
    strict: bool = False

    def share(self, name: str) -> Share | None:
        """The rule of this name."""
        return next((share for share in self.shares if share.name == name), None)


NOTHING: Final = Rules()


def strategy_of(text: str) -> Strategy:
    """The strategy of this name.

    Raises:
        Invalid: there is none.
    """
    try:
        return Strategy(text)
    except ValueError:
        raise Invalid(UNKNOWN_STRATEGY) from None


def rules_of(document: object, most: int) -> Rules:
    """The rules in a decoded JSON object, with at most `most` named ones.

    Raises:
        Invalid: says which member will not do, and what was expected.
    """
    found = _object("the rules", document, _MEMBERS)
    zone = _object("zone", found.get("zone") or {}, _ZONE)
    rules = Rules(
        strategy=None if found.get("strategy") is None else strategy_of(_text("strategy", found["strategy"])),
        warning=warned_of(found.get("warning")),
        warning_percent=_whole("warning_weight_percent", found.get("warning_weight_percent"), FULL_PERCENT),
        zone_first=_switch("zone.prefer", zone.get("prefer")),
        zone_min_percent=_whole("zone.min_percent", zone.get("min_percent"), None),
        load_factor=load_factor_of(found.get("load_factor")),
        shares=_shares(found.get("rules"), most),
        active=None if found.get("active") is None else _text("active", found["active"]),
        strict=_switch("strict", found.get("strict")) or False,
    )
    check_split(rules)
    return rules


def check_split(rules: Rules) -> None:
    """Raises Invalid where named rules contradict each other."""
    names = [share.name for share in rules.shares]
    if len(set(names)) != len(names):
        raise Invalid("rules: two of them have the same name")
    if not whole(rules.shares):
        raise Invalid("rules: the percentages are more than 100 together")
    if rules.active is None:
        return
    if rules.share(rules.active) is None:
        raise Invalid(f"active is {rules.active!r}: expected the name of one of the rules")
    if any(share.basis is not None for share in rules.shares):
        raise Invalid("active and percent exclude each other: the active rule gets every request")


def document_of(rules: Rules) -> dict[str, Any]:
    """The rules as they are stored and shown, without what they do not say."""
    zone = {"prefer": rules.zone_first, "min_percent": rules.zone_min_percent}
    members: dict[str, Any] = {
        "strategy": rules.strategy,
        "warning": rules.warning,
        "warning_weight_percent": None if rules.warning_percent == FULL_PERCENT else rules.warning_percent,
        "zone": {name: value for name, value in zone.items() if value is not None} or None,
        "load_factor": rules.load_factor,
        **split_of(rules),
    }
    return {name: value for name, value in members.items() if value is not None and value != []}


def split_of(rules: Rules) -> dict[str, Any]:
    """The part of the document that is about named rules."""
    members: dict[str, Any] = {"rules": [_share_document(share) for share in rules.shares]}
    if rules.active is not None:
        members["active"] = rules.active
    if rules.strict:
        members["strict"] = True
    return members


def packed(rules: Rules) -> bytes:
    """The document as JSON text."""
    return orjson.dumps(document_of(rules))


def read(text: bytes) -> Rules:
    """Rules from a stored document; what a newer version wrote and this one does not know is left out."""
    document = orjson.loads(text)
    known = {name: value for name, value in document.items() if name in _MEMBERS}
    return rules_of(known, len(known.get("rules") or ()))


def warned_of(value: object) -> Warned | None:
    """What becomes of instances with a warning: `keep` or `drop`. Raises Invalid."""
    if value is None:
        return None
    if value == KEEP:
        return "keep"
    if value == DROP:
        return "drop"
    raise Invalid("warning: expected keep or drop")


def load_factor_of(value: object) -> float | None:
    """How far above the mean an instance may be loaded on the ring. Raises Invalid."""
    if value is None:
        return None
    if type(value) in (int, float) and math.isfinite(value):  # type: ignore[arg-type]
        factor = float(value)  # type: ignore[arg-type]
        if LOAD_FACTOR_MIN <= factor <= LOAD_FACTOR_MAX:
            return factor
    raise Invalid(f"load_factor: expected a number from {LOAD_FACTOR_MIN} to {LOAD_FACTOR_MAX:.0f}")


def _shares(value: object, most: int) -> tuple[Share, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise Invalid("rules: expected a list")
    if len(value) > most:
        raise Invalid(f"too many rules: {len(value)} (max {most}: KONSUL_LB_SPLIT_MAX)")
    return tuple(_share(item) for item in value)


def _share(value: object) -> Share:
    found = _object("a rule", value, _RULE)
    name = _text("name", found.get("name"))
    if not NAME.fullmatch(name):
        raise Invalid(f"rule {name!r}: expected a name that matches ^{NAME.pattern}$")
    tags = found.get("tags") or []
    meta = found.get("meta") or {}
    if not isinstance(tags, list) or not isinstance(meta, dict):
        raise Invalid(f"rule {name}: expected tags as a list and meta as an object")
    if not 1 <= len(tags) + len(meta) <= MATCHES_MAX:
        raise Invalid(f"rule {name}: expected 1 to {MATCHES_MAX} tags and meta pairs to match")
    return Share(
        name,
        _basis(name, found.get("percent")),
        tuple(dict.fromkeys(_text("tags", tag) for tag in tags)),
        tuple((_text("meta", key), _text("meta", pair)) for key, pair in meta.items()),
    )


def _basis(name: str, value: object) -> int | None:
    if value is None:
        return None
    if type(value) in (int, float) and 0 <= value <= 100:  # type: ignore[operator]
        basis = round(value * 100)  # type: ignore[operator]
        if abs(basis - value * 100) < 1e-6:  # type: ignore[operator]
            return basis
    raise Invalid(f"rule {name}: expected a percent from 0 to 100, in steps of 0.01")


def _share_document(share: Share) -> dict[str, Any]:
    members: dict[str, Any] = {"name": share.name}
    if share.basis is not None:
        percent = share.basis * 100 / BASIS
        members["percent"] = int(percent) if percent.is_integer() else percent
    if share.tags:
        members["tags"] = list(share.tags)
    if share.meta:
        members["meta"] = dict(share.meta)
    return members


def _object(what: str, value: object, members: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Invalid(f"{what}: expected an object")
    unknown = _first(name for name in value if name not in members)
    if unknown is not None:
        raise Invalid(f"{what}: there is no {unknown!r}, expected {', '.join(members)}")
    return value


def _first(names: Iterable[str]) -> str | None:
    return next(iter(names), None)


def _text(what: str, value: object) -> str:
    if isinstance(value, str) and value and len(value.encode()) <= TEXT_MAX_BYTES:
        return value
    raise Invalid(f"{what}: expected a text of 1 to {TEXT_MAX_BYTES} bytes")


def _switch(what: str, value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise Invalid(f"{what}: expected true or false")


def _whole(what: str, value: Any, default: Any) -> Any:
    if value is None:
        return default
    if type(value) is int and 1 <= value <= 100:
        return value
    raise Invalid(f"{what}: expected a whole number from 1 to 100")
