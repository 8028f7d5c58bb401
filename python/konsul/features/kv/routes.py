"""`/kv` and `/kv/{key}`."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from konsul.errors import Busy, Invalid
from konsul.features.kv import batch_routes, documents, lock_routes, transaction_routes, watches
from konsul.features.kv.bodies import VALUE, decode_value
from konsul.features.kv.commands import delete, set_
from konsul.features.kv.queries import Listing, get, get_json, list_keys, list_rows
from konsul.features.kv.trees import delete_prefix
from konsul.kernel.context import Context
from konsul.kernel.parameters import (
    Cas,
    Metadata,
    is_on,
    positive_duration_ms,
    u64,
)
from konsul.kernel.polling import Polling
from konsul.kernel.reading import ReadCtx
from konsul.kernel.routing import (
    JSON,
    MAYBE_TEXT,
    MAYBE_U64,
    TEXT,
    Ctx,
    Kind,
    Router,
    json_response,
    read_members,
)

STREAMS_MAX: Final = 64
"""How many listings without a limit may be streamed at once."""
INVALID_CAS: Final = "Invalid CAS parameter"
INVALID_TTL: Final = "Invalid TTL: expected a positive duration such as 30s or 1h30m"
_PUT_BODY: Final[dict[str, Kind]] = {
    "value": VALUE,
    "cas": MAYBE_U64,
    "flags": MAYBE_U64,
    "ttl": MAYBE_TEXT,
    "encoding": TEXT,
}

Prefix = Annotated[str, Query(description="Only keys that start with this.")]
Keys = Annotated[str | None, Query(description="On: key names only, which is the default without `recurse`.")]
Recurse = Annotated[str | None, Query(description="On: every key with the prefix, with value and metadata.")]
Separator = Annotated[
    str | None, Query(description="Cut keys after its first occurrence past the prefix; list each once.")
]
After = Annotated[str | None, Query(description="Continue after this key; see `X-Konsul-Next-After`.")]
Limit = Annotated[str | None, Query(description="At most so many items, 1 to 10000. Without it: all.")]
Raw = Annotated[str | None, Query(description="On: the body is the value itself, any bytes.")]

router = Router(tags=["kv"])
router.include_router(batch_routes.router)
router.include_router(transaction_routes.router)


@router.get("/kv", needs="kv:list")
async def list_route(
    ctx: ReadCtx,
    poll: Polling,
    prefix: Prefix = "",
    keys: Keys = None,
    recurse: Recurse = None,
    separator: Separator = None,
    after: After = None,
    limit: Limit = None,
) -> Response:
    """Lists keys, or with `recurse` keys with their values, in byte order of the keys."""
    del keys
    ctx = await poll.wait(ctx, watches.below, prefix)
    return await _listing(ctx, prefix, is_on(recurse), separator, after, limit)


@router.get("/kv/{key:path}", needs="kv:read")
async def get_route(
    ctx: ReadCtx,
    poll: Polling,
    request: Request,
    key: str,
    metadata: Metadata = None,
    raw: Raw = None,
    keys: Keys = None,
    recurse: Recurse = None,
    separator: Separator = None,
    after: After = None,
    limit: Limit = None,
) -> Response:
    """Reads one key; with `recurse`, `keys` or `separator` lists the keys that start with it."""
    if is_on(recurse) or is_on(keys) or separator:
        prefix = _as_prefix(request, key)
        ctx = await poll.wait(ctx, watches.below, prefix)
        return await _listing(ctx, prefix, is_on(recurse), separator, after, limit)
    ctx = await poll.wait(ctx, watches.one, key)
    if is_on(raw):
        row = await ctx.run(get, key=key)
        headers = {"X-Content-Type-Options": "nosniff"}
        if poll.index is None:
            # Who polls needs an index that moves on with the node, as with every other read.
            headers["X-Konsul-Index"] = str(row.modify_index)
        return Response(row.cells[0], headers=headers, media_type="application/octet-stream")
    text = await ctx.run(get_json, key=key, metadata=metadata == "true")
    return json_response(text)


@router.put("/kv/{key:path}", needs="kv:write", openapi_extra=documents.PUT)
async def put_route(
    ctx: Ctx,
    request: Request,
    key: str,
    raw: Raw = None,
    cas: Cas = None,
    flags: Annotated[str | None, Query(description="With `raw`: the flags.")] = None,
    ttl: Annotated[
        str | None, Query(description="With `raw`: how long the key stays, such as `30s`.")
    ] = None,
    acquire: Annotated[str | None, Query(description="Lock the key for this session.")] = None,
    release: Annotated[str | None, Query(description="Give back this session's lock.")] = None,
) -> Response:
    """Writes one key from a JSON object or, with `raw`, from the body as it is; with `acquire` or `release`
    only if its lock can be taken or is held."""
    if acquire is not None or release is not None:
        return await lock_routes.answer(ctx, request, key, acquire=acquire, release=release)
    if is_on(raw):
        body: dict[str, Any] = {
            "value": await request.body(),
            "cas": u64(cas, INVALID_CAS),
            "flags": u64(flags, "Invalid flags parameter"),
            "ttl": ttl,
        }
    else:
        body = await read_members(request, _PUT_BODY)
        body["value"] = decode_value(body["value"], body["encoding"])
    index = await ctx.run(
        set_,
        key=key,
        value=body["value"],
        cas=body["cas"],
        flags=body["flags"],
        ttl_ms=positive_duration_ms(body["ttl"], INVALID_TTL),
    )
    return json_response({"key": key, "message": "key set", "modify_index": index})


@router.delete("/kv/{key:path}", needs="kv:delete")
async def delete_route(
    ctx: Ctx, request: Request, key: str, cas: Cas = None, recurse: Recurse = None
) -> Response:
    """Deletes one key, or with `recurse` every key that starts with it."""
    if is_on(recurse):
        return await _delete_prefix(ctx, _as_prefix(request, key), cas)
    await ctx.run(delete, key=key, cas=u64(cas, INVALID_CAS))
    return json_response({"key": key, "message": "key deleted"})


@router.put("/kv", needs="kv:write")
async def put_nothing() -> Response:
    """Refuses a write without a key."""
    raise Invalid("key is required")


@router.delete("/kv", needs="kv:delete")
async def delete_listed(ctx: Ctx, prefix: Prefix = "", cas: Cas = None, recurse: Recurse = None) -> Response:
    """Deletes every key that starts with `prefix`; `recurse` says that this is meant."""
    if not is_on(recurse):
        raise Invalid("key is required")
    return await _delete_prefix(ctx, prefix, cas)


async def _delete_prefix(ctx: Context, prefix: str, cas: str | None) -> Response:
    if cas is not None:
        raise Invalid("cas cannot be combined with recurse")
    index = await ctx.run(delete_prefix, prefix=prefix)
    return json_response({"key": prefix, "message": "keys deleted", "modify_index": index})


def _as_prefix(request: Request, key: str) -> str:
    """Gives back the slash that was stripped from the path: `/kv/app/?recurse` must not reach `apple`."""
    raw_path: bytes = (request.scope.get("raw_path") or b"").partition(b"?")[0]
    return key + "/" if raw_path.endswith(b"/") else key


async def _listing(
    ctx: Context, prefix: str, rows: bool, separator: str | None, after: str | None, limit: str | None
) -> Response:
    most = u64(limit, "Invalid limit parameter")
    if rows:
        listing = await ctx.run(list_rows, prefix=prefix, after=after, limit=most)
    else:
        listing = await ctx.run(list_keys, prefix=prefix, separator=separator or "", after=after, limit=most)
    return _listed(listing)


def _listed(listing: Listing) -> Response:
    headers = {"X-Konsul-Index": str(listing.index)}
    if listing.after is not None:
        headers["X-Konsul-Next-After"] = quote(listing.after)
    rest = listing.rest
    if rest is None:
        response = json_response(listing.first)
        response.headers.update(headers)
        return response

    async def chunks() -> Any:
        yield listing.first
        async for chunk in rest:
            yield chunk

    return _Stream(chunks(), headers)


class _Stream(StreamingResponse):
    """A listing on its way. Each holds some pieces until its client reads them, so there are not many."""

    _under_way = 0

    def __init__(self, chunks: Any, headers: dict[str, str]) -> None:
        if _Stream._under_way >= STREAMS_MAX:
            raise Busy("too many long listings are on their way: ask for pages, with limit and after")
        super().__init__(chunks, headers=headers, media_type=JSON)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        _Stream._under_way += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            _Stream._under_way -= 1
