"""`POST /transaction`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, get_args

from fastapi import Request, Response

from konsul.errors import Invalid
from konsul.features.kv import documents
from konsul.features.kv.bodies import VALUE, answer, decode_value, encode_value, read, wants_msgpack
from konsul.features.kv.transaction import Committed, touched, transact
from konsul.features.kv.transaction_plan import LOCKING, Kind, Operation, Result
from konsul.kernel import routing
from konsul.kernel.parameters import positive_duration_ms
from konsul.kernel.routing import MAYBE_TEXT, MAYBE_U64, OBJECTS, TEXT, Ctx, Router, members

_KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_INDEX_NAMES: Final = ("index", "modify_index", "cas")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_OPERATION: Final[dict[str, routing.Kind]] = {
    "type": TEXT,
    "op": TEXT,
    "key": TEXT,
    "index": MAYBE_U64,
    "modify_index": MAYBE_U64,
    "cas": MAYBE_U64,
    "value": VALUE,
    "flags": MAYBE_U64,
    "ttl": MAYBE_TEXT,
    "encoding": TEXT,
    "session": TEXT,
}

router = Router(tags=["kv"])


@router.post("/transaction", needs="kv:write", openapi_extra=documents.TRANSACTION)
async def transaction_route(ctx: Ctx, request: Request) -> Response:
    """Checks, sets, deletes, gets, locks and unlocks up to 128 keys in one entry, all or nothing.

    `index` (or `cas`, `modify_index`) is the modify_index a key must have before it, 0 for absent.
    """
    body = await read(request, {"operations": OBJECTS})
    operations = [_operation(position, item) for position, item in enumerate(body["operations"])]
    committed = await ctx.run(transact, operations=operations, needs=touched(operations))
    as_text = not wants_msgpack(request)
    results = [_result(result, committed, as_text=as_text) for result in committed.results]
    return answer(request, {"modify_index": committed.index, "results": results})


def _operation(position: int, item: Mapping[str, Any]) -> Operation:
    picked = members(item, _OPERATION)
    kind = picked["type"] or picked["op"]
    if kind not in _KINDS:
        raise Invalid(f"operation {position}: unknown type '{kind}' (expected {', '.join(_KINDS)})")
    index = next((picked[name] for name in _INDEX_NAMES if picked[name] is not None), None)
    value = None if kind in LOCKING and not _says_value(item) else picked["value"]
    try:
        return Operation(
            kind=kind,
            key=picked["key"],
            index=index,
            value=None if value is None else decode_value(value, picked["encoding"]),
            flags=picked["flags"],
            ttl_ms=positive_duration_ms(
                picked["ttl"], "Invalid TTL: expected a positive duration such as 30s or 1h30m"
            ),
            session=picked["session"],
        )
    except Invalid as error:
        raise Invalid(f"operation {position}: {error}") from None


def _says_value(item: Mapping[str, Any]) -> bool:
    return any(name.lower() == "value" and value is not None for name, value in item.items())


def _result(result: Result, committed: Committed, *, as_text: bool) -> dict[str, Any]:
    operation, seen = result.operation, result.seen
    document: dict[str, Any] = {"type": operation.kind, "key": operation.key}
    if operation.kind in ("set", "lock", "unlock"):
        document["modify_index"] = committed.index
    if operation.kind == "lock" and seen is not None:
        document["lock_index"] = seen.lock_index or committed.index
    if operation.kind != "get":
        return document
    document["found"] = seen is not None
    if seen is None:
        return document
    document["create_index"] = seen.create_index or committed.index
    document["modify_index"] = seen.modify_index or committed.index
    document["flags"] = seen.flags
    if seen.expires_at_ms is not None:
        moment = _EPOCH + timedelta(milliseconds=seen.expires_at_ms)
        document["expires_at"] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if seen.session is not None:
        document["session"] = seen.session
    if seen.lock_index != 0:
        document["lock_index"] = seen.lock_index or committed.index
    document["value"] = seen.value
    if as_text:
        document["value"], is_base64 = encode_value(seen.value)
        if is_base64:
            document["encoding"] = "base64"
    return document
