"""Live instances for a neighbour to choose among: found through indexes, looked into only where needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from konsul.engine import unpack_row
from konsul.features.catalog.commands import is_possible
from konsul.features.catalog.queries import filters
from konsul.features.catalog.tables import SERVICE, Instance, instances_prefix
from konsul.kernel.context import Context

_NAME: Final = Instance.column("name")
_ID: Final = Instance.column("id")
_ADDRESS: Final = Instance.column("address")
_TAGS: Final = Instance.column("tags")
_META: Final = Instance.column("meta")


class Candidate:
    """One instance as it was when found. Its row is unpacked when first looked into."""

    __slots__ = ("_cells", "_packed", "key")

    def __init__(self, key: bytes, packed: bytes) -> None:
        self.key: Final = key
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
            self._cells = unpack_row(self._packed).cells
        return self._cells[column]


def candidates_with(
    ctx: Context, tags: Sequence[str], metadata: Sequence[tuple[str, str]], most: int
) -> list[Candidate]:
    """The first `most` instances by name and id that have every tag and every metadata pair, of the services
    that the caller may read.

    Raises:
        Invalid: more filters than a scan takes.
    """
    where = filters(tags, metadata)
    return [] if where is None else _scan(ctx, b"", where, most)


def candidates_of(ctx: Context, name: str, most: int) -> list[Candidate]:
    """The first `most` instances by id of one service, none if the caller may not read it."""
    prefix = instances_prefix(name)
    return _scan(ctx, prefix, (), most) if is_possible(prefix) else []


def text_of(ctx: Context, candidate: Candidate) -> bytes | None:
    """The instance as JSON text, as it is now; None when it has gone since it was found."""
    return ctx.engine.get_json(SERVICE, candidate.key)


def _scan(ctx: Context, prefix: bytes, where: Sequence[tuple[int, bytes]], most: int) -> list[Candidate]:
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
