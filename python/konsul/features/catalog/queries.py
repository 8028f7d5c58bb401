"""Finding services: by name, all of them, and by tag and metadata through the table's indexes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import orjson

from konsul.engine import Row, Sight
from konsul.errors import Invalid, NotFound
from konsul.features.catalog.healths import ANY, PASSING, conditions
from konsul.features.catalog.leases import left_ms
from konsul.features.catalog.metrics import QUERIES, QUERY_RESULTS, QUERY_SECONDS
from konsul.features.catalog.rules import NOT_FOUND, is_possible
from konsul.features.catalog.tables import LISTED, SERVICE, Instance, instance_key, instances_prefix
from konsul.features.dependencies.reading import dependencies_of
from konsul.kernel.command import query
from konsul.kernel.context import Context
from konsul.kernel.scanning import packed_pages

QueryType: TypeAlias = Literal["tags", "metadata", "combined"]
PAGE: Final = 1_000
_HEALTH: Final = Instance.column("health")
_TTL: Final = Instance.column("ttl_ms")
LIST: Final = "service:list"
MAX_FILTERS: Final = 29
"""The most a scan of the core takes, less one each for node, zone and health."""
_INDEXED_MAX_BYTES: Final = 760
"""What an index holds, less its escapes; nothing longer can match."""


@dataclass(frozen=True, slots=True)
class Known:
    """One instance as JSON text with what the node knows.

    `expires_in_ms`: what is left of its lease; None without one, and where that cannot be known now.
    """

    service: bytes
    create_index: int
    modify_index: int
    expires_in_ms: int | None
    health: str = PASSING
    dependencies: Sequence[str] = ()
    """What its service needs; asked of one service only."""


@query("service.get", needs="service:read", resource="name")
async def get(ctx: Context, *, name: str) -> bytes:
    """The instance called like its service, else the first passing one by id, as JSON text; without a passing
    one the first by id.

    Raises:
        NotFound: the service has no instance.
    """
    text = _text(ctx, name)
    if text is None:
        raise NotFound(NOT_FOUND)
    return text


@query("service.get_metadata", needs="service:read", resource="name")
async def get_metadata(ctx: Context, *, name: str) -> Known:
    """As `get`, with indices, the end of its lease, and which services it needs that the caller may read."""
    key = representative(ctx, name)
    if key is not None:
        row, text = ctx.engine.get(Instance.table_id, key), ctx.engine.get_json(SERVICE, key)
        if row is not None and text is not None:
            (rest_ms,) = await left_ms(ctx, [key])
            sight = ctx.visible("service:read")
            needed = [one for one in dependencies_of(ctx.engine, name) if sight is None or sight.sees(one)]
            return Known(text, row.create_index, row.modify_index, _rest(row, rest_ms), _health(row), needed)
    raise NotFound(NOT_FOUND)


@query("service.list", needs="service:list")
async def list_services(ctx: Context) -> bytes:
    """Every instance of the services that the caller may list or read, as one JSON array, by name, then by
    id."""
    return _array(_pages(ctx, b"", (), ctx.visible(LIST)))


@query("service.instances", needs="service:read", resource="name")
async def instances(ctx: Context, *, name: str, health: str = ANY) -> bytes:
    """Every instance of one service as one JSON array, by id; those that are as healthy as `conditions` says.

    Raises:
        NotFound: there is none at all.
    """
    prefix = instances_prefix(name)
    if health != ANY and is_registered(ctx, name):
        keys = _keys(ctx, prefix, health)
        texts = [ctx.engine.get_json(LISTED, key) for key in keys]
        return b"[%b]" % b",".join(text for text in texts if text is not None)
    pages = _pages(ctx, prefix, ()) if is_possible(prefix) else []
    if not any(count for _, count in pages):
        raise NotFound(NOT_FOUND)
    return _array(pages)


@query("service.instances_metadata", needs="service:read", resource="name")
async def instances_metadata(ctx: Context, *, name: str, health: str = ANY) -> list[Known]:
    """As `instances`, each with its health, its indices and the end of its lease."""
    prefix = instances_prefix(name)
    if not is_registered(ctx, name):
        raise NotFound(NOT_FOUND)
    found: list[tuple[bytes, Row, bytes]] = []
    for key in _keys(ctx, prefix, health):
        row, text = ctx.engine.get(Instance.table_id, key), ctx.engine.get_json(SERVICE, key)
        if row is not None and text is not None:
            found.append((key, row, text))
    rest_ms = await left_ms(ctx, [key for key, _, _ in found])
    return [
        Known(text, row.create_index, row.modify_index, _rest(row, left), _health(row))
        for (_, row, text), left in zip(found, rest_ms, strict=True)
    ]


def _rest(row: Row, left_ms: int | None) -> int | None:
    """What is left of its lease; None also for an instance that has none."""
    return None if row.cells[_TTL] is None else left_ms


def is_registered(ctx: Context, name: str) -> bool:
    """Whether a service has an instance, however healthy."""
    prefix = instances_prefix(name)
    return is_possible(prefix) and bool(ctx.engine.scan_packed(Instance.table_id, prefix, (), None, 1)[0])


def _keys(ctx: Context, prefix: bytes, health: str) -> list[bytes]:
    """The keys of one service's instances that are as healthy, ascending."""
    found: list[bytes] = []
    for where in conditions(health):
        for rows in packed_pages(ctx.engine, Instance.table_id, prefix, where, size=PAGE):
            found += [key for key, _ in rows]
    return sorted(found)


def _health(row: Row) -> str:
    cells = row.cells
    return str(cells[_HEALTH]) if len(cells) > _HEALTH else PASSING


@query("service.query", needs="service:list")
async def find(
    ctx: Context, *, kind: QueryType, tags: Sequence[str] = (), metadata: Sequence[tuple[str, str]] = ()
) -> tuple[bytes, int]:
    """Instances that have every tag and every metadata pair, as one JSON array by name, and their number; of
    the services that the caller may list or read.

    Raises:
        Invalid: more than `MAX_FILTERS` filters.
    """
    with measured(kind) as results:
        where = filters(tags, metadata)
        pages = [] if where is None else _pages(ctx, b"", where, ctx.visible(LIST))
        results.append(sum(number for _, number in pages))
        return _array(pages), results[0]


@contextmanager
def measured(kind: QueryType) -> Iterator[list[int]]:
    """Counts and times one query; what is put into the list is how many instances it found."""
    began_s = time.perf_counter()
    status = "error"
    results: list[int] = []
    try:
        yield results
        QUERY_RESULTS.labels(kind).observe(sum(results))
        status = "success"
    finally:
        QUERIES.labels(kind, status).inc()
        QUERY_SECONDS.labels(kind).observe(time.perf_counter() - began_s)


@query("service.batch_get", needs="service:read", resource="names")
async def get_many(ctx: Context, *, names: Sequence[str]) -> tuple[Mapping[str, bytes], list[str]]:
    """The services found, as JSON text by name, and the names that were not; see `batch.check_names`."""
    found: dict[str, bytes] = {}
    missing: list[str] = []
    for name in names:
        if name in found:
            continue
        text = _text(ctx, name)
        if text is None:
            missing.append(name)
        else:
            found[name] = text
    return found, missing


def representative(ctx: Context, name: str) -> bytes | None:
    """The key of the instance that stands for its service: the one called like it, else the first passing one
    by id, else the first."""
    key, prefix = instance_key(name), instances_prefix(name)
    if is_possible(key) and ctx.engine.get(Instance.table_id, key) is not None:
        return key
    if not is_possible(prefix):
        return None
    for health in (PASSING, ANY):
        for where in conditions(health):
            rows, _ = ctx.engine.scan_packed(Instance.table_id, prefix, where, None, 1)
            if rows:
                return rows[0][0]
    return None


def _text(ctx: Context, name: str) -> bytes | None:
    key = representative(ctx, name)
    return None if key is None else ctx.engine.get_json(SERVICE, key)


def filters(
    tags: Sequence[str],
    metadata: Sequence[tuple[str, str]],
    node: str | None = None,
    zone: str | None = None,
) -> list[tuple[int, bytes]] | None:
    """The `where` of a scan for all of the filters; None when no instance can match them.

    Raises:
        Invalid: more than `MAX_FILTERS` filters of tags and metadata.
    """
    if len(tags) + len(metadata) > MAX_FILTERS:
        raise Invalid(f"too many filters: {len(tags) + len(metadata)} (max {MAX_FILTERS})")
    pairs = [f"{key}={value}" for key, value in metadata]
    places = [place for place in (node, zone) if place is not None]
    if not all(map(_is_indexable, (*tags, *pairs, *places))):
        return None
    found = _where("tags", tags) + _where("meta", pairs)
    found += _where("node", () if node is None else (node,))
    return found + _where("zone", () if zone is None else (zone,))


def _is_indexable(text: str) -> bool:
    return len(text.encode()) <= _INDEXED_MAX_BYTES and "\0" not in text


def _where(column: str, values: Sequence[str]) -> list[tuple[int, bytes]]:
    return [(Instance.column(column), value.encode()) for value in dict.fromkeys(values)]


def _pages(
    ctx: Context, prefix: bytes, where: Sequence[tuple[int, bytes]], sight: Sight | None = None
) -> list[tuple[bytes, int]]:
    """Every page of a scan as `(members of a JSON array, count)`."""
    pages: list[tuple[bytes, int]] = []
    after: bytes | None = None
    while True:
        page = ctx.engine.scan_json(SERVICE, prefix, where, after, PAGE, sight)
        pages.append((page.json[1:-1], page.count))
        after = page.after
        if after is None:
            return pages


def _array(pages: Sequence[tuple[bytes, int]]) -> bytes:
    return b"[%b]" % b",".join(text for text, count in pages if count)


def as_object(known: Known, expires_at: str | None) -> bytes:
    """The `?metadata=true` form of an instance."""
    return b'{"create_index":%d,%b%b"health":"%b","modify_index":%d,"service":%b}' % (
        known.create_index,
        b'"dependencies":%b,' % orjson.dumps(known.dependencies) if known.dependencies else b"",
        b"" if expires_at is None else b'"expires_at":%b,' % orjson.dumps(expires_at),
        known.health.encode(),
        known.modify_index,
        known.service,
    )
