"""The limits of one node: the native buckets, what a request costs, and how they follow the tables."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from konsul.engine import Engine, RateLimits
from konsul.engine import Row as Stored
from konsul.errors import Blocked, NoLeader, RateLimited, Unsupported
from konsul.features.ratelimit import tables
from konsul.features.ratelimit.config import RateLimitSettings, micros_of
from konsul.kernel import route_classes
from konsul.kernel.scanning import pages
from konsul.kernel.schema import Row

if TYPE_CHECKING:
    from konsul.kernel.pipeline import Headers, Identity

KINDS: Final = ("ip", "apikey", "user")
"""Names of the kinds of clients, in the native order."""
_SCOPES: Final = {"api_key": 1, "user": 2}
"""Of identities with a name, by their kind: the place of that kind of client."""
_NOBODY: Final = 3
_ALLOWED: Final = 2
_REFUSED: Final = 3
_BLACKLISTED: Final = 4
_FREE: Final = 1 << 62
"""So many of something for one token are never reached."""
_RATE, _BURST = 0, 1
_RATE_EXPIRES: Final = tables.RateRow.column("expires_at_ms")
_LIST_EXPIRES: Final = tables.ListRow.column("expires_at_ms")


class Limiting:
    """What the limit slot of the pipeline holds, see `konsul.kernel.pipeline.Limit`."""

    def __init__(self, settings: RateLimitSettings) -> None:
        self.settings = settings
        self.rate_micros = micros_of(settings.requests_per_sec)
        self.burst = settings.burst
        """The rate in force for everybody: the settings', until the table has another."""
        own = [settings.own_rate_of(name) for name in route_classes.ALL]
        self.native = RateLimits(
            (self.rate_micros, self.burst),
            own,
            clients_max=settings.clients_max,
            history_max=settings.history_size,
            with_headers=settings.headers_enabled,
        )
        self._take = self.native.take
        self._rows: dict[type[Row], dict[bytes, Stored]] = {tables.RateRow: {}, tables.ListRow: {}}
        """The tables as they were read, by key; at most as many as may be there."""
        self._changed: set[type[Row]] = set()
        ids = {name: number for number, name in enumerate(route_classes.ALL)}
        # By class: its number, what one costs, how many cost one token more, what was spent before.
        self._prices = {name: (ids[name], settings.cost_of(name), _FREE, 0) for name in ids}
        for name, of, per_token in (
            (route_classes.ITEMS, route_classes.BATCH, settings.items_per_token),
            (route_classes.COMPLEXITY, route_classes.GRAPHQL, settings.complexity_per_token),
        ):
            self._prices[name] = (ids[of], 0, per_token or _FREE, settings.cost_of(of))
        self._by_id = _SCOPES if settings.by_apikey else {}
        self._by_address = 0 if settings.by_ip else _NOBODY
        self._listed: set[tuple[str, str]] = set()
        """Kind and id of who is on a list by name: asked about as such, whoever has buckets."""

    def __call__(self, identity: Identity, client_addr: str, route_class: str, cost: int) -> Headers:
        """Spends what the request costs; see `Limit`.

        Raises:
            RateLimited, Blocked.
        """
        kind = identity.kind
        if kind == "inside":
            return []
        scope = self._by_id.get(kind, self._by_address)
        if self._listed and (kind, identity.id) in self._listed:
            scope = _SCOPES[kind]
        class_id, price, per_token, spent = self._prices[route_class]
        tokens = price * cost if price else cost // per_token
        found = self._take(scope, identity.id, client_addr, class_id, tokens, None, spent)
        if found[0] <= _ALLOWED:
            return found[1]
        raise self._refusal(found, scope, identity, client_addr)

    def reload(self, engine: Engine) -> None:
        """Reads the tables whole and puts what they say in force; none before they have reached this node."""
        for table, kept in self._rows.items():
            kept.clear()
            kept.update(row for page in rows_of(engine, table) for row in page)
            self._changed.add(table)
        self.put_in_force()

    def follow(self, engine: Engine, table: type[Row], key: bytes) -> None:
        """Reads a row that changed; it is in force after `put_in_force`."""
        kept, row = self._rows[table], engine.get(table.table_id, key)
        known = kept.get(key)
        if row is None and kept.pop(key, None) is None:
            return
        if row is not None:
            if known is not None and known.modify_index == row.modify_index:
                return
            kept[key] = row
        self._changed.add(table)

    def put_in_force(self) -> None:
        """Hands what changed to the native limits, where it holds at once, for buckets that are there too."""
        if tables.RateRow in self._changed:
            self._put_rates()
        if tables.ListRow in self._changed:
            self._put_lists()
        self._changed.clear()

    def _put_rates(self) -> None:
        rate: tuple[int | None, int | None] = (None, None)
        customs: list[tuple[int, str, tuple[int, int], int]] = []
        for key, row in self._rows[tables.RateRow].items():
            first, kind, id = tables.parts_of(key)
            if first == tables.CONFIG:
                rate = (row.cells[_RATE], row.cells[_BURST])
            elif kind in KINDS:
                own = (row.cells[_RATE], row.cells[_BURST])
                customs.append((KINDS.index(kind), id, own, row.cells[_RATE_EXPIRES]))
        self.rate_micros = rate[0] or micros_of(self.settings.requests_per_sec)
        self.burst = rate[1] or self.settings.burst
        self.native.set_rate((self.rate_micros, self.burst))
        self.native.set_customs(customs)

    def _put_lists(self) -> None:
        lists: dict[str, list[tuple[int, str, int | None]]] = {tables.WHITELIST: [], tables.BLACKLIST: []}
        for key, row in self._rows[tables.ListRow].items():
            first, kind, id = tables.parts_of(key)
            if kind in KINDS and first in lists:
                lists[first].append((KINDS.index(kind), id, row.cells[_LIST_EXPIRES]))
        self.native.set_lists(lists[tables.WHITELIST], lists[tables.BLACKLIST])
        kinds = {number: kind for kind, number in _SCOPES.items()}
        entries = (*lists[tables.WHITELIST], *lists[tables.BLACKLIST])
        self._listed = {(kinds[number], id) for number, id, _ in entries if number in kinds}

    def _refusal(
        self, found: tuple[int, Headers, int, int], scope: int, identity: Identity, client_addr: str
    ) -> RateLimited | Blocked:
        verdict, headers, wait_ms, reset_at = found
        blocked = max(0, verdict - _BLACKLISTED) if verdict != _REFUSED else scope
        who = identity.id if blocked else RateLimits.client_of(client_addr) or "unknown"
        identifier = f"{KINDS[blocked]}:{who}"
        if verdict != _REFUSED:
            return Blocked(identifier=identifier, reason="on the blacklist")
        wait_s = max(1, math.ceil(wait_ms / 1_000))
        return RateLimited(
            f"Rate limit exceeded. Please retry after {wait_s} seconds.",
            identifier=identifier,
            retry_after_s=wait_s,
            reset_at=reset_at or math.ceil(time.time()) + wait_s,
            headers=headers,
        )


def rows_of(engine: Engine, row: type[Row]) -> Iterator[list[tuple[bytes, Stored]]]:
    """Every row of a table, in pages; none before the cluster's tables have reached this node."""
    with suppress(NoLeader, Unsupported):
        yield from pages(engine, row.table_id)


_OF: WeakKeyDictionary[Engine, Limiting] = WeakKeyDictionary()


def limiting_of(engine: Engine) -> Limiting | None:
    """The node's limits, or None while they are off; they go with the node's engine."""
    return _OF.get(engine)


def set_limiting(engine: Engine, limiting: Limiting) -> None:
    """Makes them the node's."""
    _OF[engine] = limiting
