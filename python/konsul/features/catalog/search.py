"""Listings that filter, sort and page, over any table: what one call looks at is bounded, and said.

A page goes on after the last row that was looked at: what changes meanwhile neither repeats nor hides others.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeAlias, TypeVar

import orjson

from konsul.engine import Sight
from konsul.errors import Invalid
from konsul.features.catalog.metrics import SEARCH_LIMITS, SEARCH_ROWS
from konsul.features.catalog.rules import is_possible
from konsul.features.catalog.search_config import SearchSettings
from konsul.features.catalog.search_turns import slice_of, turn_of
from konsul.kernel.context import Context
from konsul.kernel.filters.compiler import WHERE_MAX
from konsul.kernel.filters.selectors import Filter, Selectors
from konsul.kernel.schema import Row

R = TypeVar("R")
Value: TypeAlias = "str | int"
ORDERS: Final = ("asc", "desc")
BAD_AFTER: Final = "Invalid after parameter: expected what an answer to the same question gave"
AFTER_MAX_CHARS: Final = 4_096


@dataclass(frozen=True, slots=True)
class Source(Generic[R]):
    """A kind of row that can be searched.

    Attributes:
        wrap: key and packed row to what selectors and orders read.
        orders: what it may be sorted by; the first is the order of its keys.
    """

    table: type[Row]
    wrap: Callable[[bytes, bytes], R]
    selectors: Selectors[R]
    orders: Mapping[str, Callable[[R], Value]]
    key_of: Callable[[R], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a listing asks for besides what it lists. `limit` None: as many as one call may look at."""

    filter: str | None = None
    sort: str | None = None
    order: str | None = None
    limit: int | None = None
    after: str | None = None

    def __bool__(self) -> bool:
        return any(one is not None for one in (self.filter, self.sort, self.order, self.limit, self.after))


@dataclass(frozen=True, slots=True)
class Found(Generic[R]):
    """A page. `after`: to go on with, None at the end."""

    rows: Sequence[R]
    after: str | None


async def search(
    ctx: Context,
    source: Source[R],
    asked: Asked,
    *,
    prefix: bytes = b"",
    where: Sequence[tuple[int, bytes]] = (),
    keeps: Callable[[R], bool] | None = None,
    sight: Sight | None = None,
) -> Found[R]:
    """The rows with `prefix` that match `where`, which `keeps` and the filter accept, in the order asked for.

    Raises:
        Invalid: the filter, sort, order, limit or after; or there are too many rows to sort.
    """
    ordered = _order(source, asked)
    settings = ctx.config.of(SearchSettings)
    most = asked.limit if asked.limit is not None else settings.rows_max
    if not 1 <= most <= settings.rows_max:
        raise Invalid(f"Invalid limit parameter: expected 1 to {settings.rows_max} (KONSUL_QUERY_MAX_ROWS)")
    place = None if asked.after is None else _place(asked.after, ordered)
    chosen = None if asked.filter is None else source.selectors.filter(asked.filter)
    accepts = _accepting(chosen, keeps)
    conditions = [*where, *(() if chosen is None else chosen.where)][:WHERE_MAX]
    scan = _Scan(ctx, source, prefix, conditions, sight, slice_of(chosen))
    if ordered.by is None:
        return await _in_key_order(scan, accepts, ordered, place, most, settings.rows_max)
    return await _sorted(scan, accepts, ordered, place, most, settings.sort_max_rows)


@dataclass(frozen=True, slots=True)
class _Order:
    """`by` None: the order of keys, ascending."""

    sort: str
    order: str
    by: Callable[[Any], Value] | None


@dataclass(slots=True)
class _Scan(Generic[R]):
    """Rows of a table in order of their keys, `slice` at a time."""

    ctx: Context
    source: Source[R]
    prefix: bytes
    where: Sequence[tuple[int, bytes]]
    sight: Sight | None
    slice: int

    def after(self, key: bytes | None, left: int) -> tuple[list[R], bytes | None]:
        """The next rows behind the key, one more than `left` at most, and where the core goes on, which is
        not for the reader's eyes."""
        table, limit = self.source.table.table_id, min(self.slice, left + 1)
        packed, rest = self.ctx.engine.scan_packed(table, self.prefix, self.where, key, limit, self.sight)
        SEARCH_ROWS.inc(len(packed))
        return [self.source.wrap(*row) for row in packed], rest


async def _in_key_order(
    scan: _Scan[R], accepts: Callable[[R], bool], order: _Order, place: Any, most: int, looked_max: int
) -> Found[R]:
    key: bytes | None = None if place is None else place[1]
    found: list[R] = []
    looked = 0
    last: R | None = None
    while True:
        async with turn_of(scan.ctx.engine):
            rows, key = scan.after(key, looked_max - looked)
            for row in rows:
                # One that is not shown any more tells that there is something to go on for.
                if last is not None and (len(found) == most or looked == looked_max):
                    if looked == looked_max:
                        SEARCH_LIMITS.labels("rows").inc()
                    return Found(found, _cursor(order, None, scan.source.key_of(last)))
                looked += 1
                last = row
                if accepts(row):
                    found.append(row)
            if key is None:
                return Found(found, None)
            await asyncio.sleep(0)


async def _sorted(
    scan: _Scan[R], accepts: Callable[[R], bool], order: _Order, place: Any, most: int, looked_max: int
) -> Found[R]:
    by, key_of = order.by, scan.source.key_of
    assert by is not None  # noqa: S101 - the other order has a walk of its own
    found: list[tuple[Value, bytes, R]] = []
    key: bytes | None = None
    looked = 0
    while True:
        async with turn_of(scan.ctx.engine):
            rows, key = scan.after(key, looked_max - looked)
            looked += len(rows)
            if looked > looked_max:
                SEARCH_LIMITS.labels("sort").inc()
                raise Invalid(_too_many(scan.source, looked_max))
            found += [(by(row), key_of(row), row) for row in rows if accepts(row)]
            if key is None:
                break
            await asyncio.sleep(0)
    if place is not None and found and type(found[0][0]) is not type(place[0]):
        raise Invalid(BAD_AFTER)
    descends = order.order == "desc"
    found.sort(key=_rank, reverse=descends)
    if place is not None:
        found = [one for one in found if (_rank(one) < place if descends else _rank(one) > place)]
    after = None
    if len(found) > most:
        value, last, _ = found[most - 1]
        after = _cursor(order, value, last)
    return Found([row for _, _, row in found[:most]], after)


def _too_many(source: Source[Any], looked_max: int) -> str:
    return (
        f"too many rows to sort: more than {looked_max} (KONSUL_QUERY_SORT_MAX_ROWS): ask for fewer by name, "
        f"tag, metadata, node or zone, or for {next(iter(source.orders))} asc"
    )


def _rank(one: tuple[Value, bytes, Any]) -> tuple[Value, bytes]:
    return one[0], one[1]


def _order(source: Source[Any], asked: Asked) -> _Order:
    first = next(iter(source.orders))
    sort, order = asked.sort or first, asked.order or "asc"
    if sort not in source.orders:
        raise Invalid(f"Invalid sort parameter: expected one of {', '.join(source.orders)}")
    if order not in ORDERS:
        raise Invalid(f"Invalid order parameter: expected {' or '.join(ORDERS)}")
    is_key_order = sort == first and order == "asc"
    return _Order(sort, order, None if is_key_order else source.orders[sort])


def _accepting(chosen: Filter[R] | None, keeps: Callable[[R], bool] | None) -> Callable[[R], bool]:
    if chosen is None:
        return keeps or (lambda row: True)  # noqa: ARG005 - all of them
    accepts = chosen.accepts
    if keeps is None:
        return accepts
    return lambda row: keeps(row) and accepts(row)


def _cursor(order: _Order, value: Value | None, key: bytes) -> str:
    text = orjson.dumps([order.sort, order.order, value, key.decode()])
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def _place(after: str, order: _Order) -> tuple[Any, bytes]:
    """The value and key that a cursor stands for. Raises Invalid for none, and for one of another order."""
    if len(after) > AFTER_MAX_CHARS:
        raise Invalid(BAD_AFTER)
    try:
        padded = after.encode() + b"=" * (-len(after) % 4)
        document = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        sort, way, value, key = document
        key = key.encode()
    except (ValueError, binascii.Error, TypeError, AttributeError):
        raise Invalid(BAD_AFTER) from None
    kinds = (str, int) if order.by is not None else (type(None),)
    if (sort, way) != (order.sort, order.order) or type(value) not in kinds or not is_possible(key):
        raise Invalid(BAD_AFTER)
    return value, key
