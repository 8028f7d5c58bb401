"""The key-value store in the GraphQL schema: its queries and mutations, and all that the feature brings."""

from __future__ import annotations

from typing import Annotated

import strawberry

from konsul.errors import Conflict, Invalid, NotFound
from konsul.features.kv.bodies import decode_value, encode_value
from konsul.features.kv.commands import delete, set_
from konsul.features.kv.graphql_live import Subscriptions
from konsul.features.kv.graphql_types import (
    BASE64,
    Info,
    KvDeleteTreeResult,
    KvList,
    KvPair,
    KvSetCasResult,
    pair,
    pair_of,
)
from konsul.features.kv.paging import Page, page
from konsul.features.kv.trees import delete_tree
from konsul.kernel.asking import Asking
from konsul.kernel.graph import Duration, Long, Parts, in_turns

Encoding = Annotated[
    str | None,
    strawberry.argument(description="`base64`: the value is any bytes, written so. Else it is text."),
]
Flags = Annotated[Long | None, strawberry.argument(description="Without it the key keeps its flags.")]
Ttl = Annotated[Duration | None, strawberry.argument(description="Delete the key so long after this write.")]


@strawberry.type
class Queries:
    """The fields of `Query` that the key-value store brings."""

    @strawberry.field(description="One key; null when it is absent.")
    async def kv(self, info: Info, key: str) -> KvPair | None:
        return await pair_of(info.context, key)

    @strawberry.field(description="Keys that start with a prefix, in byte order, page by page.")
    async def kv_list(
        self,
        info: Info,
        prefix: str | None = strawberry.UNSET,
        limit: int | None = strawberry.UNSET,
        offset: int | None = strawberry.UNSET,
    ) -> KvList:
        start, most = info.context.window(limit, offset)
        found = await info.context.read(page, prefix=prefix or "", offset=start, limit=most)
        return KvList(items=_pairs(found), has_more=found.more, prefix=prefix or "")

    @strawberry.field(
        description="All keys that start with a prefix, in byte order; an error if one list cannot hold them."
    )
    async def kv_tree(self, info: Info, prefix: str) -> list[KvPair]:
        most = info.context.page_max
        found = await info.context.read(page, prefix=prefix, offset=0, limit=most)
        if found.more:
            raise Invalid(f"more than {most} keys start with '{prefix}': ask for pages with kvList")
        return _pairs(found)


@strawberry.type
class Mutations:
    """The fields of `Mutation` that the key-value store brings."""

    @strawberry.mutation(description="Creates or replaces a key.")
    async def kv_set(
        self,
        info: Info,
        key: str,
        value: str,
        flags: Flags = strawberry.UNSET,
        ttl: Ttl = strawberry.UNSET,
        encoding: Encoding = strawberry.UNSET,
    ) -> KvPair:
        return await _set(info.context, key, value, None, flags, ttl, encoding)

    @strawberry.mutation(description="Deletes a key: true when it was there.")
    async def kv_delete(self, info: Info, key: str) -> bool:
        return await _delete(info.context, key, None)

    @strawberry.mutation(
        name="kvCAS",
        description="Writes a key whose modify index is still `index`; 0: only if it is absent. Null when it "
        "is not so. For indices that an Int cannot hold there is `kvSetCAS`.",
    )
    async def kv_cas(self, info: Info, key: str, value: str, index: int) -> KvPair | None:
        if index < 0:
            raise Invalid("index must not be negative")
        try:
            return await _set(info.context, key, value, index)
        except (Conflict, NotFound):
            return None

    @strawberry.mutation(
        name="kvSetCAS",
        description="Writes a key whose modify index is still `modifyIndex`; 0: only if it is absent.",
    )
    async def kv_set_cas(
        self,
        info: Info,
        key: str,
        value: str,
        modify_index: Long,
        flags: Flags = strawberry.UNSET,
        ttl: Ttl = strawberry.UNSET,
        encoding: Encoding = strawberry.UNSET,
    ) -> KvSetCasResult:
        try:
            written = await _set(info.context, key, value, modify_index, flags, ttl, encoding)
        except (Conflict, NotFound):
            return KvSetCasResult(success=False, key=key)
        return KvSetCasResult(success=True, key=key, written=written)

    @strawberry.mutation(
        name="kvDeleteCAS",
        description="Deletes a key whose modify index is still `modifyIndex`; false when it is not so.",
    )
    async def kv_delete_cas(self, info: Info, key: str, modify_index: Long) -> bool:
        return await _delete(info.context, key, modify_index)

    @strawberry.mutation(
        description="Deletes the keys that start with a prefix, in one entry; an error, and nothing deleted, "
        "when they are more than 1000."
    )
    async def kv_delete_tree(self, info: Info, prefix: str) -> KvDeleteTreeResult:
        keys = await info.context.write(delete_tree, prefix=prefix)
        return KvDeleteTreeResult(deleted=len(keys), keys=keys)


def _pairs(found: Page) -> list[KvPair]:
    return in_turns(found.rows, lambda one: pair(*one))


async def _set(
    asking: Asking,
    key: str,
    value: str,
    cas: int | None,
    flags: int | None = None,
    ttl_ms: int | None = None,
    encoding: str | None = None,
) -> KvPair:
    if isinstance(ttl_ms, int) and ttl_ms <= 0:
        raise Invalid("Invalid TTL: expected a positive duration such as 30s or 1h30m")
    stored = decode_value(_utf8(value), encoding or "")
    index = await asking.write(
        set_,
        key=key,
        value=stored,
        cas=cas,
        flags=flags if isinstance(flags, int) else None,
        ttl_ms=ttl_ms if isinstance(ttl_ms, int) else None,
    )
    text, is_base64 = encode_value(stored)
    return KvPair(key=key, value=text, encoding=BASE64 if is_base64 else None, modify_index=Long(index))


async def _delete(asking: Asking, key: str, cas: int | None) -> bool:
    try:
        await asking.write(delete, key=key, cas=cas, existing=True)
    except (Conflict, NotFound):
        return False
    return True


def _utf8(value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:  # lone surrogates, which JSON can write
        raise Invalid("value must be valid Unicode") from None


parts = Parts(queries=(Queries,), mutations=(Mutations,), subscriptions=(Subscriptions,))
