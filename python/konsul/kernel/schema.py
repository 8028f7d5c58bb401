"""Declares replicated tables and compiles them to the schema the core reads (docs/reference/entries.md)."""

from __future__ import annotations

import dataclasses
import itertools
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    Self,
    TypeAlias,
    TypeVar,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

import msgpack

if TYPE_CHECKING:
    from konsul.kernel.entry import Op

R = TypeVar("R", bound="Row")
Parent: TypeAlias = "type[Row] | Callable[[], type[Row]]"
Ops: TypeAlias = "Sequence[Op] | Callable[[], Sequence[Op]]"
_Chosen: TypeAlias = "Sequence[Op] | Mapping[object, Sequence[Op]]"
Reactions: TypeAlias = "_Chosen | Callable[[], _Chosen]"
_MARK: Final = "konsul"
_KINDS: Final[Mapping[object, str]] = {
    int: "u64",
    bool: "bool",
    str: "text",
    bytes: "bytes",
    list: "list",
    dict: "map",
}


@dataclass(frozen=True, slots=True)
class _Mark:
    """What a field specifier says beyond type and default."""

    role: str = "column"
    index: str = "none"
    kind: str | None = None
    refs: tuple[Ref, ...] = ()


@dataclass(frozen=True, slots=True)
class Ref:
    """What happens to a row when the parent row its column names goes away or breaks."""

    given_parent: Parent
    each: bool
    breaks_when: tuple[str, object] | None
    choose_by: str | None
    given_then: Reactions

    @property
    def parent(self) -> type[Row]:
        """The table pointed at."""
        given = self.given_parent
        return given if isinstance(given, type) else given()

    @property
    def then(self) -> tuple[tuple[object, tuple[Op, ...]], ...]:
        """The reactions by value of `choose_by`; without one the only one, by None."""
        given = self.given_then
        found = given() if callable(given) else given
        if isinstance(found, Mapping) is not (self.choose_by is not None):
            raise TypeError("`choose_by` goes with a mapping of reactions, and only with one")
        if isinstance(found, Mapping):
            return tuple((value, tuple(ops)) for value, ops in found.items())
        return ((None, tuple(found)),)


@dataclass(frozen=True, slots=True)
class Column:
    """One declared column; its place in `Row.columns` is its frozen position."""

    name: str
    kind: str
    default: object
    index: str
    refs: tuple[Ref, ...]


def _field(mark: _Mark, default: object) -> Any:
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata={_MARK: mark})
    if default is dataclasses.MISSING:
        return field(metadata={_MARK: mark})
    return field(default=default, metadata={_MARK: mark})


def key() -> Any:
    """The row's key. Exactly one per table; it is not a column."""
    return _field(_Mark(role="key"), dataclasses.MISSING)


def column(*, default: Any, kind: str | None = None) -> Any:
    """A plain column that needs to say its kind, such as `i64`."""
    return _field(_Mark(kind=kind), default)


def index(*, default: Any = "", each: bool = False, unique: bool = False) -> Any:
    """An indexed column: by its value, by each of its items (lists, `key=value` of maps), or unique."""
    if each and unique:
        raise TypeError("an index is `each` or `unique`, not both")
    return _field(_Mark(index="each" if each else "unique" if unique else "single"), default)


def expires() -> Any:
    """Milliseconds since 1970 from which a pulse deletes the row, or None. At most one per table."""
    return _field(_Mark(role="expires"), None)


def lease() -> Any:
    """Length in ms of the lease the leader holds for the row, or None. At most one per table."""
    return _field(_Mark(role="lease"), None)


def json_column(*, default: bytes | None = None) -> Any:
    """A `bytes` column holding JSON text, embedded verbatim in answers."""
    return _field(_Mark(kind="json"), default)


def ref(
    parent: Parent,
    *,
    then: Reactions = (),
    default: Any = None,
    each: bool = False,
    breaks_when: tuple[str, object] | None = None,
    choose_by: str | None = None,
    when_broken: Ops | None = None,
) -> Any:
    """A column holding the key (with `each` or a list as default: the keys) of `parent` rows, and what
    follows when one breaks.

    `then` is the reaction, or with `choose_by` (a column of the parent) one reaction per value of it. It
    follows when the parent goes, and when its `breaks_when` column becomes that value; with `when_broken`
    only when it goes, and that follows when it breaks. `parent`, `then` and `when_broken` may be given as
    what returns them: tables that point at each other are declared one after the other.
    """
    many = each or isinstance(default, list)
    if when_broken is None:
        refs: tuple[Ref, ...] = (Ref(parent, many, breaks_when, choose_by, then),)
        if not callable(then):
            _ = refs[0].then
    elif breaks_when is None or choose_by is not None:
        raise TypeError("`when_broken` goes with `breaks_when`, and not with `choose_by`")
    else:
        # A ref that can break does so when its parent goes, too: which of both it was, the value tells. Of a
        # parent that goes while it is broken the rows react to both, first to its going.
        column, value = breaks_when
        broken = Ref(parent, many, breaks_when, column, lambda: {value: _given(when_broken)})
        refs = (broken,) if then == () else (Ref(parent, many, None, None, then), broken)
    return _field(_Mark(index="each" if many else "single", refs=refs), default)


def _given(ops: Ops) -> Sequence[Op]:
    return ops() if callable(ops) else ops


class Row:
    """A row of a replicated table. `@table` makes its subclasses frozen keyword-only dataclasses."""

    __slots__ = ()
    table_name: ClassVar[str]
    table_id: ClassVar[int]
    columns: ClassVar[tuple[Column, ...]]
    keep: ClassVar[int | None]
    key_field: ClassVar[str]
    expires_column: ClassVar[int | None]
    lease_column: ClassVar[int | None]
    _positions: ClassVar[Mapping[str, int]]

    @classmethod
    def column(cls, name: str) -> int:
        """The position of a column. Raises KeyError for an unknown name."""
        return cls._positions[name]

    @classmethod
    def stored(cls, key: bytes, cells: Sequence[Any]) -> Self:
        """The row as it is stored; columns that were declared after it was written have their default."""
        missing = cls.columns[len(cells) :]
        values = [*cells, *(column.default for column in missing)] if missing else cells
        members = {column.name: value for column, value in zip(cls.columns, values, strict=True)}
        return cls(**{cls.key_field: key.decode()}, **members)

    def cells(self) -> list[Any]:
        """The values in column order, ready for `entry.put` or `entry.cells`."""
        return [getattr(self, column.name) for column in self.columns]


@dataclass_transform(
    frozen_default=True,
    kw_only_default=True,
    field_specifiers=(key, column, index, expires, lease, json_column, ref),
)
def table(name: str, *, id: int, keep: int | None = None) -> Callable[[type[R]], type[R]]:
    """Declares a table. `id` is frozen for ever in schema.lock.json; `keep` = only the newest n rows stay."""
    if not 1 <= id <= 65_535:
        raise TypeError(f"table {name}: id {id} is not in 1..65535")

    def declare(cls: type[R]) -> type[R]:
        row: type[R] = dataclass(frozen=True, slots=True, kw_only=True)(cls)
        row.table_name, row.table_id, row.keep = name, id, keep
        _describe(row, get_type_hints(cls))
        return row

    return declare


def _describe(row: type[Row], hints: Mapping[str, object]) -> None:
    columns: list[Column] = []
    roles: dict[str, list[str]] = {"key": [], "expires": [], "lease": []}
    for item in dataclasses.fields(row):  # type: ignore[arg-type]
        mark: _Mark = item.metadata.get(_MARK) or _Mark()
        roles.setdefault(mark.role, []).append(item.name)
        if mark.role == "key":
            continue
        default: object = item.default
        if item.default_factory is not dataclasses.MISSING:
            default = item.default_factory()
        if default is dataclasses.MISSING:
            raise TypeError(f"{row.table_name}.{item.name}: a column needs a default, for rows older than it")
        kind = mark.kind or _kind(row, item.name, hints[item.name])
        columns.append(Column(item.name, kind, default, mark.index, mark.refs))
    if len(roles["key"]) != 1 or len(roles["expires"]) > 1 or len(roles["lease"]) > 1:
        raise TypeError(f"{row.table_name}: exactly one key() and at most one expires() and lease()")
    row.columns = tuple(columns)
    row.key_field = roles["key"][0]
    row._positions = {column.name: position for position, column in enumerate(columns)}
    row.expires_column = row._positions[roles["expires"][0]] if roles["expires"] else None
    row.lease_column = row._positions[roles["lease"][0]] if roles["lease"] else None


def _kind(row: type[Row], name: str, hint: object) -> str:
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(part for part in get_args(hint) if part is not type(None))
    plain = get_origin(hint) or hint
    if plain not in _KINDS:
        raise TypeError(f"{row.table_name}.{name}: no column kind for {hint!r}")
    return _KINDS[plain]


def describe_table(row: type[Row]) -> dict[str, object]:
    """The table as the schema format's map."""
    return {
        "id": row.table_id,
        "name": row.table_name,
        "columns": [
            {"name": column.name, "kind": column.kind, "default": column.default, "index": column.index}
            for column in row.columns
        ],
        "expires": row.expires_column,
        "lease": row.lease_column,
        "keep": row.keep,
        "refs": [_describe_ref(row, column, ref) for column in row.columns for ref in column.refs],
    }


def _describe_ref(row: type[Row], column: Column, ref: Ref) -> dict[str, object]:
    parent = ref.parent
    breaks_when = [parent.column(ref.breaks_when[0]), ref.breaks_when[1]] if ref.breaks_when else None
    return {
        "column": row.column(column.name),
        "parent": parent.table_id,
        "each": ref.each,
        "breaks_when": breaks_when,
        "choose_by": parent.column(ref.choose_by) if ref.choose_by else None,
        "then": [[value, list(ops)] for value, ops in ref.then],
    }


def compile_schema(tables: Iterable[type[Row]]) -> bytes:
    """The `Define` payload: equal declarations give equal bytes. Raises TypeError on a shared id or name."""
    ordered = sorted(tables, key=lambda row: row.table_id)
    for one, other in itertools.pairwise(ordered):
        if one.table_id == other.table_id:
            raise TypeError(f"tables {one.table_name} and {other.table_name} share the id {one.table_id}")
    names = [row.table_name for row in ordered]
    if len(set(names)) != len(names):
        raise TypeError(f"two tables share a name: {sorted(names)}")
    packed: bytes = msgpack.packb([describe_table(row) for row in ordered])
    return packed
