"""`PUT /kv/{key}?acquire=` and `?release=`."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Request, Response

from konsul.errors import Invalid
from konsul.features.kv.bodies import VALUE, decode_value
from konsul.features.kv.locks import Change, acquire, release
from konsul.kernel.context import Context
from konsul.kernel.parameters import is_on, positive_duration_ms, u64
from konsul.kernel.routing import MAYBE_TEXT, MAYBE_U64, TEXT, Kind, json_response, read_members


class _MaybeValue:
    """A value, or None: what is there stays."""

    empty: Final = None

    def __call__(self, value: object) -> bytes:
        return VALUE(value)


_BODY: Final[dict[str, Kind]] = {
    "value": _MaybeValue(),
    "cas": MAYBE_U64,
    "flags": MAYBE_U64,
    "ttl": MAYBE_TEXT,
    "encoding": TEXT,
}
_NOT_BOTH: Final = "acquire and release cannot be combined"
_NO_CAS: Final = "cas cannot be combined with release"


async def answer(
    ctx: Context, request: Request, key: str, *, acquire: str | None, release: str | None
) -> Response:
    """200 either way, with `acquired` or `released` true or false."""
    if acquire is not None and release is not None:
        raise Invalid(_NOT_BOTH)
    change, cas = await _read(request)
    if acquire is not None:
        return await _acquire(ctx, key, acquire, change, cas)
    if cas is not None:
        raise Invalid(_NO_CAS)
    return await _release(ctx, key, release or "", change)


async def _read(request: Request) -> tuple[Change, int | None]:
    """What the body and the parameters say; a parameter goes before a member. Without a body the value
    stays."""
    query = request.query_params
    body: dict[str, Any] = {name: kind.empty for name, kind in _BODY.items()}
    content = await request.body()
    if is_on(query.get("raw")):
        body["value"] = content
    elif content:
        body = await read_members(request, _BODY)
        if body["value"] is not None:
            body["value"] = decode_value(body["value"], body["encoding"])
    cas = u64(query.get("cas"), "Invalid CAS parameter")
    flags = u64(query.get("flags"), "Invalid flags parameter")
    change = Change(
        value=body["value"],
        flags=body["flags"] if flags is None else flags,
        ttl_ms=positive_duration_ms(
            query.get("ttl") or body["ttl"], "Invalid TTL: expected a positive duration such as 30s or 1h30m"
        ),
    )
    return change, body["cas"] if cas is None else cas


async def _acquire(ctx: Context, key: str, session: str, change: Change, cas: int | None) -> Response:
    outcome = await ctx.run(acquire, key=key, session=session, change=change, cas=cas)
    document: dict[str, Any] = {"acquired": outcome.acquired, "key": key}
    if outcome.lock_index:
        document["lock_index"] = outcome.lock_index
    if outcome.acquired:
        document["modify_index"] = outcome.index
    if outcome.session is not None:
        document["session"] = outcome.session
    if outcome.retry_after_ms:
        document["retry_after_ms"] = outcome.retry_after_ms
    return json_response(document)


async def _release(ctx: Context, key: str, session: str, change: Change) -> Response:
    released, index = await ctx.run(release, key=key, session=session, change=change)
    document: dict[str, Any] = {"key": key, "released": released}
    if released:
        document["modify_index"] = index
    return json_response(document)
