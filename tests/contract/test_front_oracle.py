"""Every request gets the same answer, byte for byte, whether the compiled front answers it or FastAPI does.

Three nodes see the same requests in the same order: before one stands the plain front, which has no short
cuts; before the others the compiled one, as ASGI and as the listener drives it.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote_from_bytes

import msgpack
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.front_trio import Trio
from tests.contract.front_ways import Call
from tests.contract.odd_requests import (
    BODIES,
    BY_NAME,
    CONTENT_TYPES,
    NAMES,
    ODD_ITEMS,
    ODD_KEYS,
    ODD_SETS,
    PATHS,
    QUERIES,
    STREAMS,
)

JSON = (b"content-type", b"application/json")
MSGPACK = (b"content-type", b"application/msgpack")
ORIGIN = (b"origin", b"http://elsewhere")


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    running = Trio(str(tmp_path_factory.mktemp("oracle")))
    yield running
    assert running.equal_tables()
    running.close()


def put(path: bytes, body: bytes, query: bytes = b"", *headers: tuple[bytes, bytes]) -> Call:
    return Call("PUT", path, query, body, headers or (JSON,))


def post(path: bytes, document: object, *headers: tuple[bytes, bytes]) -> Call:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return Call("POST", path, b"", body, headers or (JSON,))


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH", "OPTIONS", "BREW"])
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.decode("latin-1")[:24])
def test_paths(trio: Trio, method: str, path: bytes) -> None:
    body = b'{"value":"v"}' if method in ("PUT", "POST") else b""
    refused = b"since=x" if path in STREAMS else b""
    trio.ask(Call(method, path, refused, body, (JSON,) if body else ()))
    trio.ask(Call("GET", path, refused))
    trio.ask(Call("GET", path, refused or b"metadata=true", b"", (ORIGIN,)))
    trio.ask(Call(method, path, refused, b"a body where there is none"))


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:40]))
def test_bodies(trio: Trio, body: bytes) -> None:
    trio.ask(put(b"/kv/bodies/k", body))
    for query in (b"", b"raw", b"metadata=true"):
        trio.ask(Call("GET", b"/kv/bodies/k", query))
    trio.ask(put(b"/kv/bodies/raw", body, b"raw"))
    for query in (b"", b"raw", b"metadata=true"):
        trio.ask(Call("GET", b"/kv/bodies/raw", query))
    for route in (b"set", b"get", b"delete"):
        trio.ask(Call("POST", b"/batch/kv/" + route, b"", body, (JSON,)))


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.decode())
def test_queries(trio: Trio, method: str, query: bytes) -> None:
    trio.ask(put(b"/kv/queries/k", b'{"value":"v","flags":3}'))
    trio.ask(Call(method, b"/kv/queries/k", query, b'{"value":"w"}' if method == "PUT" else b"", (JSON,)))
    trio.ask(Call(method, b"/kv/queries/absent", query))
    for path in (b"/services/web", b"/deregister/web", b"/heartbeat/web", b"/batch/kv/get"):
        trio.ask(Call(method, path, query))


@pytest.mark.parametrize(
    "content_type",
    CONTENT_TYPES,
    ids=repr,
)
def test_content_types(trio: Trio, content_type: bytes | None) -> None:
    headers = () if content_type is None else ((b"content-type", content_type),)
    for body in (
        b'{"value":"v"}',
        msgpack.packb({"items": {"a": b"\xff"}}),
        b'{"items":{"a":"1"}}',
        b'{"keys":["a"]}',
    ):
        trio.ask(Call("PUT", b"/kv/types", b"", body, headers))
        for accept in (None, b"*/*", b"application/json", b"application/msgpack", b"text/html"):
            more = () if accept is None else ((b"accept", accept),)
            for route in (b"set", b"get", b"delete"):
                trio.ask(Call("POST", b"/batch/kv/" + route, b"", body, headers + more))


def test_compare_and_set(trio: Trio) -> None:
    trio.ask(put(b"/kv/cas/k", b'{"value":"1","cas":5}'))
    first = orjson.loads(trio.ask(put(b"/kv/cas/k", b'{"value":"1","cas":0}')).body)["modify_index"]
    assert trio.ask(put(b"/kv/cas/k", b'{"value":"2","cas":0}')).status == 409
    assert trio.ask(put(b"/kv/cas/k", b'{"value":"2","cas":%d,"flags":9}' % first)).status == 200
    assert trio.ask(put(b"/kv/cas/k", b'{"value":"3","cas":%d}' % first)).status == 409
    assert trio.ask(Call("GET", b"/kv/cas/k", b"metadata=true")).status == 200
    for query in (b"cas=0", b"cas=%d" % first, b"cas=%d" % (first + 1), b"cas=%d" % (first + 1)):
        trio.ask(Call("DELETE", b"/kv/cas/k", query))


def test_batches(trio: Trio) -> None:
    many = {f"batch/{n:04}": str(n) for n in range(1000)}
    assert trio.ask(post(b"/batch/kv/set", {"items": many})).status == 200
    assert trio.ask(post(b"/batch/kv/get", {"keys": [*many]})).status == 200
    assert trio.ask(post(b"/batch/kv/set", {"items": many | {"one": "more"}})).status == 400
    assert trio.ask(post(b"/batch/kv/get", {"keys": [*many, "more"]})).status == 400
    trio.ask(put(b"/kv/batch/binary", b"\xff\xfe", b"raw"))
    for keys in ODD_KEYS:
        for route in (b"get", b"delete"):
            trio.ask(post(b"/batch/kv/" + route, {"keys": keys}))
            trio.ask(Call("POST", b"/batch/kv/" + route, b"", msgpack.packb({"keys": keys}), (MSGPACK,)))
    for items in ODD_ITEMS:
        trio.ask(post(b"/batch/kv/set", {"items": items}))
        trio.ask(Call("POST", b"/batch/kv/set", b"", msgpack.packb({"items": items}), (MSGPACK,)))
    for document in ODD_SETS:
        trio.ask(post(b"/batch/kv/set", document))
    for value in (b"\xff", b"", "text", bytearray(b"x" * 300)):
        trio.ask(Call("POST", b"/batch/kv/set", b"", msgpack.packb({"items": {"m": value}}), (MSGPACK,)))
        trio.ask(Call("POST", b"/batch/kv/get", b"", msgpack.packb({"keys": ["m", "n"]}), (MSGPACK,)))
    assert trio.ask(post(b"/batch/kv/delete", {"keys": [*many]})).status == 200


def test_services(trio: Trio) -> None:
    web = {"name": "web", "address": "10.0.0.1", "port": 80, "tags": ["a"], "meta": {"k": "v"}}
    for document in (
        web,
        {**web, "id": "second"},
        {**web, "name": "only-id", "id": "i1"},
        {**web, "port": 0},
    ):
        trio.ask(Call("PUT", b"/register", b"", orjson.dumps(document), (JSON,)))
    for name in NAMES:
        for method, prefix in BY_NAME:
            trio.ask(Call(method, prefix + name))
    trio.ask(Call("PUT", b"/heartbeat/web", b"", b'{"some":"body"}', (JSON,)))
    trio.ask(Call("GET", b"/services/web/instances"))


@pytest.mark.parametrize(
    "headers",
    [
        (ORIGIN,),
        (ORIGIN, (b"access-control-request-method", b"PUT")),
        ((b"access-control-request-method", b"PUT"),),
        ((b"x-request-id", b"mine"),),
        ((b"x-filler", b"f" * 4000),),
        ((b"x-filler", b"f" * 5000),),
        ((b"content-length", b"5000000"),),
        ((b"content-length", b"-1"),),
        ((b"content-length", b"0"),),
    ],
    ids=lambda headers: repr(headers[0])[:40],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS"])
def test_headers(trio: Trio, method: str, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    trio.ask(Call(method, b"/kv/headers", b"", b"", headers))


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("size", [0, 1, 1000, 524_288, 4_194_304, 4_194_305])
def test_bodies_in_pieces(trio: Trio, size: int, declared: bool) -> None:
    for pieces in (1, 2, 7):
        for path, query in ((b"/kv/pieces", b"raw"), (b"/kv/pieces", b""), (b"/nothing", b"")):
            trio.ask(Call("PUT", path, query, b"p" * size, (JSON,), pieces, declared))
        trio.ask(Call("GET", b"/kv/pieces", b"raw"))


anything = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
keys = st.one_of(st.text(max_size=40), st.text('abé/%\0\n"\\<', max_size=12))
values = st.one_of(
    st.text(max_size=60), st.integers(), st.none(), st.booleans(), st.binary(max_size=4).map(repr)
)
documents = st.dictionaries(
    st.sampled_from(["value", "cas", "flags", "ttl", "encoding", "Value", "keys", "items"]),
    st.one_of(values, st.lists(values, max_size=4), st.dictionaries(keys, values, max_size=4)),
    max_size=4,
)


def _path(prefix: bytes, key: str) -> bytes:
    return prefix + quote_from_bytes(key.encode("utf-8", "replace"), safe="/").encode()


@anything
@given(key=keys, document=documents, query=st.sampled_from([b"", b"raw", b"metadata=true", b"cas=3"]))
def test_any_key_and_document(trio: Trio, key: str, document: dict[str, object], query: bytes) -> None:
    try:
        body = orjson.dumps(document)
    except (TypeError, ValueError):  # an integer over 64 bits, or a lone surrogate
        body = b"{"
    path = _path(b"/kv/", key)
    trio.ask(put(path, body, query if query != b"cas=3" else b""))
    trio.ask(Call("GET", path, query))
    for route in (b"set", b"get", b"delete"):
        trio.ask(Call("POST", b"/batch/kv/" + route, b"", body, (JSON,)))
    trio.ask(Call("DELETE", path, query))


@anything
@given(
    method=st.sampled_from(["GET", "PUT", "DELETE", "POST", "HEAD"]),
    path=st.binary(max_size=30).map(lambda raw: b"/" + raw.replace(b"?", b"")),
    prefix=st.sampled_from([b"", b"/kv", b"/v1/kv", b"/services", b"/batch/kv"]),
    query=st.text("abcrw=&%+1", max_size=12).map(str.encode),
    body=st.binary(max_size=30),
)
def test_any_bytes(trio: Trio, method: str, path: bytes, prefix: bytes, query: bytes, body: bytes) -> None:
    trio.ask(Call(method, prefix + path, query, body, (JSON,)))


@anything
@given(items=st.dictionaries(keys, st.one_of(st.text(max_size=20), st.binary(max_size=20)), max_size=8))
def test_any_msgpack_batch(trio: Trio, items: dict[str, str | bytes]) -> None:
    try:
        packed = msgpack.packb({"items": items})
        wanted = msgpack.packb({"keys": [*items, *items]})
    except UnicodeEncodeError:
        return
    trio.ask(Call("POST", b"/batch/kv/set", b"", packed, (MSGPACK,)))
    trio.ask(Call("POST", b"/batch/kv/get", b"", wanted, (MSGPACK,)))
    trio.ask(Call("POST", b"/batch/kv/get", b"", wanted, (MSGPACK, (b"accept", b"application/json"))))
    trio.ask(Call("POST", b"/batch/kv/delete", b"", wanted, (MSGPACK,)))
