"""The calls of the key-value routes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal
from urllib.parse import unquote

from konsul.client.model import (
    BatchResult,
    BatchValues,
    KeyValue,
    Operation,
    Page,
    TransactionResult,
    Written,
)
from konsul.client.request import (
    BYTES,
    JSON,
    MSGPACK,
    Answer,
    Call,
    Flow,
    Params,
    Request,
    T,
    flag,
    key_path,
    option,
)
from konsul.errors import Invalid

BATCH_KEYS_MAX = 1000
BATCH_BYTES_MAX = 2 * 1024 * 1024
"""Half of the server's default body limit, so that framing and a smaller configured limit leave room."""

WAIT_S = 300.0
"""The server's own measure of how long a read waits for a change."""

Value = bytes | str


def get(
    key: str, consistency: str | None = None, index: int | None = None, wait_s: float | None = None
) -> Call[KeyValue]:
    """Read one key. The result raises NotFound when it does not exist. With `index` the answer is held back
    until the key has changed after it, at most `wait_s` (the server's own measure without it)."""
    params = (
        *flag("metadata", True),
        *option("consistency", consistency),
        *option("index", index),
        *option("wait", None if wait_s is None else f"{max(1, round(wait_s * 1_000))}ms"),
    )
    request = Request("GET", key_path(key), "GET /kv/{key}", params, repeatable=True, kind="read")
    return Call(request, _row, patience_s=0.0 if index is None else wait_s or WAIT_S)


def set_(
    key: str, value: Value, cas: int | None = None, flags: int | None = None, ttl: str | None = None
) -> Call[Written]:
    """Write one key. Text goes as JSON; bytes as they are. `flags` None keeps the old ones; `ttl` is Go
    text (`30s`)."""
    if isinstance(value, bytes):
        params: Params = (
            *flag("raw", True),
            *option("cas", cas),
            *option("flags", flags),
            *option("ttl", ttl),
        )
        headers, body = {"Content-Type": BYTES}, value
    else:
        params = ()
        headers = {"Content-Type": JSON}
        body = _json({"value": value, "cas": cas, "flags": flags, "ttl": ttl})
    request = Request(
        "PUT", key_path(key), "PUT /kv/{key}", params, headers, body, repeatable=cas is None, kind="write"
    )
    return Call(request, lambda answer: Written(key, int(answer.json().get("modify_index", 0))))


def delete(key: str, cas: int | None = None) -> Call[Written]:
    """Delete one key; without `cas` an absent key is a success."""
    params = option("cas", cas)
    request = Request(
        "DELETE", key_path(key), "DELETE /kv/{key}", params, repeatable=cas is None, kind="write"
    )
    return Call(request, lambda _: Written(key))


def delete_prefix(prefix: str) -> Call[None]:
    """Delete every key that starts with `prefix`. Raises Invalid for an empty prefix: that would be
    everything."""
    if not prefix:
        raise Invalid("prefix is required")
    params = (("prefix", prefix), *flag("recurse", True))
    request = Request("DELETE", "/kv/", "DELETE /kv/", params, repeatable=True, kind="write")
    return Call(request, lambda _: None)


def keys_page(
    prefix: str, separator: str | None, limit: int, after: str | None, consistency: str | None = None
) -> Call[Page[str]]:
    """One page of key names in byte order."""
    params = (
        *option("prefix", prefix or None),
        *flag("keys", True),
        *option("separator", separator),
        *option("limit", limit),
        *option("after", after),
        *option("consistency", consistency),
    )
    request = Request("GET", "/kv/", "GET /kv/", params, repeatable=True, kind="read")
    return Call(request, lambda answer: _page(answer, str))


def rows_page(
    prefix: str, limit: int, after: str | None, consistency: str | None = None
) -> Call[Page[KeyValue]]:
    """One page of keys with their values in byte order of the keys."""
    params = (
        *option("prefix", prefix or None),
        *flag("recurse", True),
        *option("limit", limit),
        *option("after", after),
        *option("consistency", consistency),
    )
    request = Request("GET", "/kv/", "GET /kv/", params, repeatable=True, kind="read")
    return Call(request, lambda answer: _page(answer, row))


def get_many(
    keys: Iterable[str], progress: Callable[[int], None] = lambda _: None, consistency: str | None = None
) -> Flow[BatchValues]:
    """Read any number of keys, a thousand at a time. Each request sees one moment; the whole does not."""
    found: dict[str, bytes] = {}
    missing: dict[str, None] = {}
    for part in _chunks(keys, lambda _: 0):
        answer = yield _batch(
            "get", {"keys": part}, repeatable=True, params=option("consistency", consistency)
        )
        found.update({key: _bytes(value) for key, value in answer["found"].items()})
        missing.update(dict.fromkeys(answer["not_found"]))
        progress(len(part))
    return BatchValues(found, tuple(missing))


def set_many(
    items: Mapping[str, Value] | Iterable[tuple[str, Value]], progress: Callable[[int], None] = lambda _: None
) -> Flow[BatchResult]:
    """Write any number of keys, a thousand at a time. Each request is all or nothing; the whole is not."""
    pairs = items.items() if isinstance(items, Mapping) else items
    count = requests = 0
    for part in _chunks(pairs, lambda pair: len(pair[0]) + len(pair[1])):
        yield _batch("set", {"items": dict(part)}, repeatable=True)
        count, requests = count + len(part), requests + 1
        progress(len(part))
    return BatchResult(count, requests)


def delete_many(keys: Iterable[str], progress: Callable[[int], None] = lambda _: None) -> Flow[BatchResult]:
    """Delete any number of keys, a thousand at a time; absent keys count as deleted."""
    count = requests = 0
    for part in _chunks(keys, lambda _: 0):
        yield _batch("delete", {"keys": part}, repeatable=True)
        count, requests = count + len(part), requests + 1
        progress(len(part))
    return BatchResult(count, requests)


def set_many_cas(items: Mapping[str, Value], expected: Mapping[str, int]) -> Call[dict[str, int]]:
    """Write up to 1000 keys if each still has its expected index (0: absent). All or nothing, hence never
    split."""
    request = _batch_request("set-cas", {"items": dict(items), "expected_indices": dict(expected)}, False)
    return Call(request, lambda answer: {str(k): int(v) for k, v in answer.json()["new_indices"].items()})


def delete_many_cas(expected: Mapping[str, int]) -> Call[BatchResult]:
    """Delete up to 1000 keys if each still has its expected index. All or nothing, hence never split."""
    request = _batch_request(
        "delete-cas", {"keys": list(expected), "expected_indices": dict(expected)}, False
    )
    return Call(request, lambda answer: BatchResult(int(answer.json()["count"]), 1))


def transaction(operations: Sequence[Operation]) -> Call[TransactionResult]:
    """Check, set, delete and get in one entry, all or nothing."""
    body = _json({"operations": [_operation(one) for one in operations]})
    headers = {"Content-Type": JSON}
    request = Request("POST", "/transaction", "POST /transaction", (), headers, body, kind="write")
    return Call(request, _transaction)


def row(document: Mapping[str, Any]) -> KeyValue:
    """A stored key from its JSON form."""
    value = document.get("value", "")
    raw = base64.b64decode(value, validate=True) if document.get("encoding") == "base64" else _bytes(value)
    return KeyValue(
        str(document["key"]),
        raw,
        int(document.get("flags", 0)),
        int(document.get("create_index", 0)),
        int(document.get("modify_index", 0)),
        moment(document.get("expires_at")),
        session=str(document.get("session", "")),
        lock_index=int(document.get("lock_index", 0)),
    )


def moment(text: str | None) -> datetime | None:
    """An RFC 3339 time; fractions beyond microseconds are dropped."""
    return datetime.fromisoformat(text) if text else None


def _row(answer: Answer) -> KeyValue:
    seen = answer.headers.get("x-konsul-index", "")
    return replace(row(answer.json()), read_index=int(seen) if seen.isdecimal() else 0)


def _bytes(value: Value) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _json(members: Mapping[str, Any]) -> bytes:
    present = {name: value for name, value in members.items() if value is not None}
    return json.dumps(present, ensure_ascii=False, separators=(",", ":")).encode()


def _page(answer: Answer, read: Callable[[Any], T]) -> Page[T]:
    after = answer.headers.get("x-konsul-next-after")
    return Page(tuple(read(item) for item in answer.json()), None if after is None else unquote(after))


def _chunks(items: Iterable[T], size: Callable[[T], int]) -> Iterable[list[T]]:
    """Lists of at most BATCH_KEYS_MAX items and about BATCH_BYTES_MAX bytes; one item over that goes
    alone."""
    source = iter(items)
    part: list[T] = []
    weight = 0
    for item in source:
        item_bytes = size(item)
        if part and (len(part) >= BATCH_KEYS_MAX or weight + item_bytes > BATCH_BYTES_MAX):
            yield part
            part, weight = [], 0
        part.append(item)
        weight += item_bytes
    if part:
        yield part


def _batch_request(verb: str, body: Mapping[str, Any], repeatable: bool, params: Params = ()) -> Request:
    import msgpack

    route = f"/batch/kv/{verb}"
    headers = {"Content-Type": MSGPACK, "Accept": MSGPACK}
    packed = msgpack.packb(body)
    kind: Literal["read", "write"] = "read" if verb == "get" else "write"
    return Request("POST", route, f"POST {route}", params, headers, packed, repeatable, kind)


def _batch(verb: str, body: Mapping[str, Any], repeatable: bool, params: Params = ()) -> Call[Any]:
    return Call(_batch_request(verb, body, repeatable, params), Answer.json)


def _operation(one: Operation) -> dict[str, Any]:
    step: dict[str, Any] = {"type": one.type, "key": one.key}
    if one.value is not None:
        try:
            step["value"] = one.value.decode()
        except UnicodeDecodeError:
            step |= {"value": base64.b64encode(one.value).decode(), "encoding": "base64"}
    if one.index is not None:
        step["index"] = one.index
    if one.flags is not None:
        step["flags"] = one.flags
    if one.ttl is not None:
        step["ttl"] = one.ttl
    if one.session is not None:
        step["session"] = one.session
    return step


def _transaction(answer: Answer) -> TransactionResult:
    document = answer.json()
    rows = [row(item) for item in document.get("results", []) if item.get("found")]
    return TransactionResult(int(document.get("modify_index", 0)), tuple(rows))
