"""The shop on paper: which services there are, what each needs, and where its instances are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

NEEDS: Final[Mapping[str, Sequence[str]]] = {
    "storefront": ("catalog", "cart", "orders"),
    "catalog": ("inventory",),
    "cart": ("inventory",),
    "orders": ("payment", "inventory"),
    "payment": (),
    "inventory": (),
}
"""Service -> the services it asks when it is asked itself."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One server of the shop. `weight`: how many requests it takes beside its siblings' share."""

    service: str
    number: int
    zone: str
    version: str = "1"
    weight: int = 1

    @property
    def id(self) -> str:
        """What it is registered as."""
        return f"{self.service}-{self.number}"


INSTANCES: Final = (
    Instance("storefront", 1, "a"),
    Instance("storefront", 2, "b"),
    Instance("catalog", 1, "a"),
    Instance("catalog", 2, "b"),
    Instance("catalog", 3, "a", version="2"),
    Instance("cart", 1, "a"),
    Instance("cart", 2, "b"),
    Instance("orders", 1, "a"),
    Instance("orders", 2, "b"),
    Instance("payment", 1, "a"),
    Instance("inventory", 1, "a", weight=3),
    Instance("inventory", 2, "b"),
)
CANARY: Final = {
    "strategy": "round-robin",
    "rules": [{"name": "canary", "percent": 10, "meta": {"version": "2"}}],
}
"""Of the catalog's visitors one in ten sees its new version."""
WEIGHTED: Final = {"strategy": "weighted-round-robin"}
RULES: Final[Mapping[str, Mapping[str, object]]] = {"catalog": CANARY, "inventory": WEIGHTED}
