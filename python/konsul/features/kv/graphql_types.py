"""Keys as GraphQL shows them."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import field
from typing import Any, Final, TypeVar

import strawberry

from konsul.engine import Row
from konsul.errors import KonsulError, NotFound
from konsul.features.kv.bodies import encode_value
from konsul.features.kv.paging import count, rows
from konsul.features.kv.queries import get
from konsul.features.kv.tables import Entry, lock_of
from konsul.kernel.asking import Asking
from konsul.kernel.graph import Long, Time

Info = strawberry.Info[Asking, None]

T = TypeVar("T")

_VALUE: Final = Entry.column("value")
_FLAGS: Final = Entry.column("flags")
_EXPIRES: Final = Entry.column("expires_at_ms")
BASE64: Final = "base64"
_ENCODING: Final = "`base64` when the value is not UTF-8 and is written so, else null."
_NO_TIMES: Final = "Always null: a key keeps the indices of its first and last write, and no times."
_GONE: Final = " Null when it was deleted before it could be read back."


async def load_rows(asking: Asking, keys: Sequence[str]) -> Sequence[Row | BaseException | None]:
    """The row of each key; an error is that of its key alone."""
    try:
        return await asking.run(rows, keys=keys)
    except KonsulError as error:
        if len(keys) == 1:
            return [error]
    return [await _load_row(asking, key) for key in keys]


async def load_counts(asking: Asking, prefixes: Sequence[str]) -> Sequence[int | BaseException]:
    """How many keys start with each: a prefix is walked once, under however many names it is asked for."""
    found: list[int | BaseException] = []
    for prefix in prefixes:
        try:
            number = await asking.run(count, prefix=prefix)
            found.append(number)
        except KonsulError as error:
            found.append(error)
    return found


async def _load_row(asking: Asking, key: str) -> Row | BaseException | None:
    try:
        return await asking.run(get, key=key)
    except NotFound:
        return None
    except KonsulError as error:
        return error


@strawberry.federation.type(name="KVPair", keys=["key"])
class KvPair:
    """A key with its value."""

    key: str
    value: str
    modify_index: Long = strawberry.field(description="The index of its last write.")
    encoding: str | None = strawberry.field(description=_ENCODING)
    created_at: Time | None = strawberry.field(description=_NO_TIMES, default=None)
    updated_at: Time | None = strawberry.field(description=_NO_TIMES, default=None)
    row: strawberry.Private[Row | None] = None

    # Of what was read the row is at hand, and an answer without a coroutine costs a tenth.
    @strawberry.field(graphql_type=Long | None, description="A number that belongs to the clients." + _GONE)
    def flags(self, info: Info) -> Any:
        return self._of_row(info, lambda row: row.cells[_FLAGS])

    @strawberry.field(graphql_type=Long | None, description="The index of the write that created it." + _GONE)
    def create_index(self, info: Info) -> Any:
        return self._of_row(info, lambda row: row.create_index)

    @strawberry.field(graphql_type=Time | None, description="When it will be deleted; null: it stays.")
    def expires_at(self, info: Info) -> Any:
        return self._of_row(info, lambda row: row.cells[_EXPIRES])

    @strawberry.field(graphql_type=str | None, description="The session that holds its lock; null: nobody.")
    def session(self, info: Info) -> Any:
        return self._of_row(info, lambda row: lock_of(row)[0])

    @strawberry.field(
        graphql_type=Long | None,
        description="Rises with every new holder of its lock; 0: it was never locked." + _GONE,
    )
    def lock_index(self, info: Info) -> Any:
        return self._of_row(info, lambda row: lock_of(row)[1])

    @classmethod
    async def resolve_reference(cls, info: Info, key: str) -> KvPair | None:
        """The entity of a federation gateway."""
        return await pair_of(info.context, key)

    def _of_row(self, info: Info, pick: Callable[[Row], T]) -> T | Awaitable[T | None]:
        return self._read_back(info, pick) if self.row is None else pick(self.row)

    async def _read_back(self, info: Info, pick: Callable[[Row], T]) -> T | None:
        """After a write, which did not have to know the row."""
        row = await info.context.load(load_rows, self.key)
        return None if row is None else pick(row)


def pair(key: str, row: Row) -> KvPair:
    """A stored row as an object of the schema."""
    value, is_base64 = encode_value(row.cells[_VALUE])
    encoding = BASE64 if is_base64 else None
    return KvPair(key=key, value=value, encoding=encoding, modify_index=Long(row.modify_index), row=row)


async def pair_of(asking: Asking, key: str) -> KvPair | None:
    """The key, asked together with the others of the operation; None when it is absent."""
    row = await asking.load(load_rows, key)
    return None if row is None else pair(key, row)


@strawberry.type(name="KVListResponse")
class KvList:
    """A part of the keys that start with a prefix, in byte order."""

    items: list[KvPair]
    has_more: bool = strawberry.field(description="There are more after this page.")
    prefix: strawberry.Private[str] = field(default="")

    @strawberry.field(description="How many keys start with the prefix. They are counted only when asked.")
    async def total(self, info: Info) -> int:
        return await info.context.load(load_counts, self.prefix)


@strawberry.type(name="KVSetCASResult")
class KvSetCasResult:
    """What became of a compare-and-set."""

    success: bool
    key: strawberry.Private[str]
    written: strawberry.Private[KvPair | None] = None

    @strawberry.field(
        description="The key as it is now: as written, or what is there instead; null when it is absent."
    )
    async def kv_pair(self, info: Info) -> KvPair | None:
        return self.written or await pair_of(info.context, self.key)


@strawberry.type(name="KVDeleteTreeResult")
class KvDeleteTreeResult:
    """What was deleted, in one entry."""

    deleted: int
    keys: list[str]


@strawberry.enum(name="KVEventType")
class KvEventType(enum.Enum):
    """What happened to a key."""

    SET = "set"
    DELETE = "delete"


@strawberry.type(name="KVChangeEvent")
class KvChangeEvent:
    """A change of one key."""

    type: KvEventType
    key: str
    value: str | None = strawberry.field(description="Null when the key was deleted.")
    old_value: str | None = strawberry.field(description="Null when there was none.")
    timestamp: Time
    modify_index: Long = strawberry.field(description="The index of the change.")
    resume_index: Long = strawberry.field(
        description="What to give as `since` to go on after this event: below `modifyIndex` while there are "
        "further changes of the same entry."
    )
    encoding: str | None = strawberry.field(description=_ENCODING)
    old_value_encoding: str | None = strawberry.field(description=_ENCODING)
