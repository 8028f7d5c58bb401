"""Live instances for a neighbour to choose among: found through indexes, looked into only where needed."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any, Final

from konsul.engine import unpack_row
from konsul.features.catalog.healths import ANY, PASSING, SERVING, Health, conditions
from konsul.features.catalog.queries import filters
from konsul.features.catalog.rules import is_possible
from konsul.features.catalog.tables import SERVICE, Instance, instances_prefix
from konsul.kernel.context import Context

__all__ = ["ANY", "PASSING", "SERVING", "Candidate", "Health", "candidates_of", "candidates_with", "text_of"]

_NAME: Final = Instance.column("name")
_ID: Final = Instance.column("id")
_ADDRESS: Final = Instance.column("address")
_PORT: Final = Instance.column("port")
_TAGS: Final = Instance.column("tags")
_META: Final = Instance.column("meta")
_NODE: Final = Instance.column("node")
_ZONE: Final = Instance.column("zone")
_HEALTH: Final = Instance.column("health")


class Candidate:
    """One instance as it was when found. Its row is unpacked when first looked into."""

    __slots__ = ("_cells", "_packed", "key")

    key: bytes
    """Its key, `<name> <id>`: the order of candidates."""

    def __init__(self, key: bytes, packed: bytes) -> None:
        self.key = key
        self._packed = packed
        self._cells: list[Any] | None = None

    @property
    def name(self) -> str:
        """The service's name."""
        return str(self._cell(_NAME))

    @property
    def id(self) -> str | None:
        """The instance's id, None when it is called like its service."""
        cell: str | None = self._cell(_ID)
        return cell

    @property
    def address(self) -> str:
        """Where it listens, without the port."""
        return str(self._cell(_ADDRESS))

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._cell(_PORT))

    @property
    def node(self) -> str | None:
        """The node it runs on, None when it did not say."""
        cell: str | None = self._cell(_NODE)
        return cell

    @property
    def zone(self) -> str:
        """Its zone, empty when nobody said one."""
        return str(self._cell(_ZONE))

    @property
    def health(self) -> str:
        """passing, warning or critical."""
        return str(self._cell(_HEALTH))

    @property
    def modify_index(self) -> int:
        """The index of the entry that wrote it last."""
        return int.from_bytes(self._packed[8:16])

    @property
    def tags(self) -> Sequence[str]:
        """Its tags."""
        cell: Sequence[str] = self._cell(_TAGS)
        return cell

    @property
    def meta(self) -> Mapping[str, str]:
        """Its metadata."""
        cell: Mapping[str, str] = self._cell(_META)
        return cell

    def _cell(self, column: int) -> Any:
        if self._cells is None:
            cells = unpack_row(self._packed).cells
            # A row from before these columns were declared.
            cells += [column.default for column in Instance.columns[len(cells) :]]
            self._cells = cells
        return self._cells[column]


def candidates_with(
    ctx: Context,
    tags: Sequence[str],
    metadata: Sequence[tuple[str, str]],
    most: int,
    health: Health = SERVING,
    *,
    node: str | None = None,
    zone: str | None = None,
) -> list[Candidate]:
    """The first `most` instances by name and id that have every tag and every metadata pair, of the services
    that the caller may read, as healthy as `health` asks.

    Raises:
        Invalid: more filters than a scan takes.
    """
    return _scan(ctx, b"", filters(tags, metadata, node, zone), most, health)


def candidates_of(
    ctx: Context,
    name: str,
    most: int,
    health: Health = SERVING,
    *,
    tags: Sequence[str] = (),
    metadata: Sequence[tuple[str, str]] = (),
    node: str | None = None,
    zone: str | None = None,
) -> list[Candidate]:
    """The first `most` instances by id of one service, as `candidates_with`; none if the caller may not read
    it."""
    prefix = instances_prefix(name)
    return (
        _scan(ctx, prefix, filters(tags, metadata, node, zone), most, health) if is_possible(prefix) else []
    )


def text_of(ctx: Context, candidate: Candidate) -> bytes | None:
    """The instance as JSON text, as it is now; None when it has gone since it was found."""
    return ctx.engine.get_json(SERVICE, candidate.key)


def _scan(
    ctx: Context, prefix: bytes, where: Sequence[tuple[int, bytes]] | None, most: int, health: Health
) -> list[Candidate]:
    """One scan per status that will do: an index holds what is equal, so `or` is two of them, merged."""
    if where is None:
        return []
    lists = [_rows(ctx, prefix, [*where, *more], most) for more in conditions(health)]
    lists = [found for found in lists if found]
    if len(lists) <= 1:
        return lists[0] if lists else []
    return list(islice(heapq.merge(*lists, key=attrgetter("key")), most))


def _rows(ctx: Context, prefix: bytes, where: Sequence[tuple[int, bytes]], most: int) -> list[Candidate]:
    sight = ctx.visible("service:read")
    found: list[Candidate] = []
    after: bytes | None = None
    while len(found) < most:
        limit = most - len(found)
        rows, after = ctx.engine.scan_packed(Instance.table_id, prefix, where, after, limit, sight)
        found += [Candidate(key, packed) for key, packed in rows]
        if after is None:
            break
    return found
