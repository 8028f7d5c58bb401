"""`/batch/kv/*`: many keys per request, in JSON or msgpack."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Request, Response

from konsul.features.kv import batch, documents
from konsul.features.kv.bodies import VALUES, answer, encode_value, read, wants_msgpack
from konsul.kernel.reading import ReadCtx
from konsul.kernel.routing import TEXTS, U64_MAP, Ctx, Kind, Router

_KEYS: Final[dict[str, Kind]] = {"keys": TEXTS}
_ITEMS: Final[dict[str, Kind]] = {"items": VALUES}
_EXPECTED: Final[dict[str, Kind]] = {"expected_indices": U64_MAP}

router = Router(tags=["kv batch"])


@router.post("/batch/kv/get", needs="kv:read", openapi_extra=documents.BATCH_KEYS)
async def get_route(ctx: ReadCtx, request: Request) -> Response:
    """Reads up to 1000 keys. In JSON, `encodings` names the values that had to be base64."""
    body = await read(request, _KEYS)
    found = await ctx.run(batch.get_many, keys=body["keys"])
    if wants_msgpack(request):
        return answer(request, {"found": found.values, "not_found": found.missing})
    texts: dict[str, str] = {}
    encodings: dict[str, str] = {}
    for key, value in found.values.items():
        texts[key], is_base64 = encode_value(value)
        if is_base64:
            encodings[key] = "base64"
    document: dict[str, Any] = {"found": texts, "not_found": found.missing}
    if encodings:
        document["encodings"] = encodings
    return answer(request, document)


@router.post("/batch/kv/set", needs="kv:write", openapi_extra=documents.BATCH_SET)
async def set_route(ctx: Ctx, request: Request) -> Response:
    """Writes up to 1000 keys, all or nothing. Flags stay as they are."""
    items = (await read(request, _ITEMS))["items"]
    await ctx.run(batch.set_many, items=items)
    message = f"Successfully set {len(items)} keys"
    return answer(request, {"message": message, "keys": list(items), "count": len(items)})


@router.post("/batch/kv/delete", needs="kv:delete", openapi_extra=documents.BATCH_KEYS)
async def delete_route(ctx: Ctx, request: Request) -> Response:
    """Deletes up to 1000 keys, all or nothing. Absent keys count as deleted."""
    keys = (await read(request, _KEYS))["keys"]
    await ctx.run(batch.delete_many, keys=keys)
    message = f"Successfully deleted {len(keys)} keys"
    return answer(request, {"message": message, "keys": keys, "count": len(keys)})


@router.post("/batch/kv/set-cas", needs="kv:write", openapi_extra=documents.BATCH_SET_CAS)
async def set_cas_route(ctx: Ctx, request: Request) -> Response:
    """Writes keys if each has its expected modify_index (0: absent), all or nothing."""
    body = await read(request, _ITEMS | _EXPECTED)
    items = body["items"]
    index = await ctx.run(batch.set_many_cas, items=items, expected=body["expected_indices"])
    message = f"Successfully set {len(items)} keys with CAS"
    return answer(
        request, {"message": message, "new_indices": dict.fromkeys(items, index), "count": len(items)}
    )


@router.post("/batch/kv/delete-cas", needs="kv:delete", openapi_extra=documents.BATCH_DELETE_CAS)
async def delete_cas_route(ctx: Ctx, request: Request) -> Response:
    """Deletes keys if each has its expected modify_index, all or nothing."""
    body = await read(request, _KEYS | _EXPECTED)
    keys = body["keys"]
    await ctx.run(batch.delete_many_cas, keys=keys, expected=body["expected_indices"])
    message = f"Successfully deleted {len(keys)} keys with CAS"
    return answer(request, {"message": message, "keys": keys, "count": len(keys)})
