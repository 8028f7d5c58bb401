"""Candidates of a question, and what is worked out of them, kept while the tables stay as they are."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from konsul.features.catalog.tables import WARNING, split_key
from konsul.features.lb.splits import REST, Share
from konsul.features.lb.strategies import share_of

if TYPE_CHECKING:
    from konsul.features.catalog.candidates import Candidate

T = TypeVar("T")


class Pool:
    """Candidates in order of name and id. What strategies look at is worked out when first asked for."""

    __slots__ = ("_parts", "_weights", "found", "rings")

    def __init__(self, found: Sequence[Candidate]) -> None:
        self.found = list(found)
        self.rings: list[array[int]] | None = None
        """Points on the ring by candidate, once the balancer has looked them up."""
        self._weights: dict[int, dict[bytes, int]] = {}
        self._parts: dict[Hashable, Pool] = {}

    def __len__(self) -> int:
        return len(self.found)

    def only_service(self) -> str | None:
        """The service all candidates belong to; None if there are several, or none."""
        if not self.found:
            return None
        # A key begins with the name, and they are in order.
        first, last = (split_key(one.key.decode())[0] for one in (self.found[0], self.found[-1]))
        return first if first == last else None

    def weights(self, warned_percent: int) -> dict[bytes, int]:
        """Weights in hundredths by key, in the order of candidates."""
        found = self._weights.get(warned_percent)
        if found is None:
            found = self._weights[warned_percent] = {
                one.key: share_of(one.meta, is_warned=one.health == WARNING, warned_percent=warned_percent)
                for one in self.found
            }
        return found

    def part(self, shares: tuple[Share, ...], name: str) -> Pool:
        """The candidates of the named rule, or with REST those of none."""
        return self._of(
            (shares, name),
            lambda one: _is_in(shares, name, one),
        )

    def zone(self, zone: str, *, inside: bool) -> Pool:
        """The candidates in a zone, or those that are not."""
        return self._of((zone, inside), lambda one: (one.zone == zone) is inside)

    def tagged(self, tag: str) -> Pool:
        """The candidates with a tag."""
        return self._of(tag, lambda one: tag in one.tags)

    def without(self, gone: Candidate) -> Pool:
        """The others."""
        return Pool([one for one in self.found if one is not gone])

    def _of(self, key: Hashable, belongs: Callable[[Candidate], bool]) -> Pool:
        part = self._parts.get(key)
        if part is None:
            if len(self._parts) >= _PARTS_MAX:
                self._parts.clear()
            part = Pool([one for one in self.found if belongs(one)])
            if part.found:
                # A zone or a region where nobody is may be any text that a client thinks of: it is not kept.
                self._parts[key] = part
        return part


_PARTS_MAX = 64
"""Parts of one pool that are kept: of rules, zones and regions."""


def _is_in(shares: tuple[Share, ...], name: str, one: Candidate) -> bool:
    if name == REST:
        return not any(share.matches(one.tags, one.meta) for share in shares)
    return any(share.matches(one.tags, one.meta) for share in shares if share.name == name)


class Kept(Generic[T]):
    """Values made from the tables: each good while the tables are at the index at which it was made.

    The index is read before the tables are, so a value may be newer than its index says, never older; and an
    index that is the same again means that nothing at all has changed. At most `most` in size, the ones asked
    for last.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._index = 0
        self._size = 0
        self._values: OrderedDict[Hashable, tuple[int, T]] = OrderedDict()

    def __len__(self) -> int:
        return self._size

    def get(self, index: int, key: Hashable) -> T | None:
        """The value, if it is still good."""
        if index != self._index:
            self._values.clear()
            self._index, self._size = index, 0
            return None
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[1]

    def put(self, index: int, key: Hashable, value: T, size: int) -> None:
        """Keeps a value that was made from tables at `index` or later."""
        if index != self._index or key in self._values or size > self._most:
            return
        self._values[key] = (size, value)
        self._size += size
        while self._size > self._most:
            _, (gone, _) = self._values.popitem(last=False)
            self._size -= gone
