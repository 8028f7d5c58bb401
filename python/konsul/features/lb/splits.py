"""Named rules of a service: which part of its instances a request is for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from konsul.features.lb.hashing import BASIS

REST: Final = ""
"""What no rule names: those that match none of them."""


@dataclass(frozen=True, slots=True)
class Share:
    """A named rule: the instances that have all tags and pairs. `basis`: of 10,000 requests how many are for
    them; None: only those that name the rule, or all while it is the active one."""

    name: str
    basis: int | None = None
    tags: tuple[str, ...] = ()
    meta: tuple[tuple[str, str], ...] = ()

    def matches(self, tags: Sequence[str], meta: Mapping[str, str]) -> bool:
        """Whether an instance is one of them."""
        return all(tag in tags for tag in self.tags) and all(
            meta.get(key) == value for key, value in self.meta
        )


def share_at(shares: Iterable[Share], point: int) -> str:
    """The name of the rule that gets the point of 0..BASIS-1, or REST.

    Rules stand one behind the other from 0 on: a first rule that grows takes sessions from the others, and
    none of its own leaves it.
    """
    end = 0
    for share in shares:
        end += share.basis or 0
        if point < end:
            return share.name
    return REST


def whole(shares: Iterable[Share]) -> bool:
    """Whether the percentages are at most everything."""
    return sum(share.basis or 0 for share in shares) <= BASIS
