"""Bodies of the KV routes: JSON for everyone, msgpack for those who move many values."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

import msgpack
from fastapi import Request, Response

from konsul.errors import Invalid
from konsul.kernel.routing import MSGPACK, Kind, decode_json, is_msgpack, json_response, members

INVALID_MSGPACK: Final = "Invalid MessagePack body"


class _Value:
    """A value as bytes: text in JSON, text or binary in msgpack."""

    empty: Final = b""

    def __call__(self, value: object) -> bytes:
        if type(value) is str:
            return value.encode()
        if type(value) is bytes:
            return value
        raise ValueError


class _Values:
    """A map from keys to values."""

    @property
    def empty(self) -> dict[str, bytes]:
        return {}

    def __call__(self, value: object) -> dict[str, bytes]:
        if type(value) is not dict or any(type(key) is not str for key in value):
            raise ValueError
        return {key: VALUE.empty if item is None else VALUE(item) for key, item in value.items()}


VALUE: Final = _Value()
VALUES: Final = _Values()


async def read(request: Request, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """The members of a JSON or msgpack body, by its content type. Raises Invalid for one that is neither."""
    content_type = request.headers.get("content-type", "")
    body = await request.body()
    if not is_msgpack(content_type):
        return members(decode_json(body, content_type), kinds)
    try:
        value = msgpack.unpackb(body, raw=False, strict_map_key=True)
    except (ValueError, RecursionError, msgpack.UnpackException):
        raise Invalid(INVALID_MSGPACK) from None
    return members(value, kinds, message=INVALID_MSGPACK)


def wants_msgpack(request: Request) -> bool:
    """What `Accept` names decides; without it, or with `*/*`, the answer is in the form of the request."""
    accept = request.headers.get("accept", "*/*")
    if accept.strip() == "*/*":
        return is_msgpack(request.headers.get("content-type", ""))
    return any(is_msgpack(part) for part in accept.split(","))


def answer(request: Request, document: Mapping[str, object]) -> Response:
    """A document in the form the client wants. Values in it are bytes only where the client wants msgpack."""
    if wants_msgpack(request):
        return Response(msgpack.packb(document), media_type=MSGPACK)
    return json_response(document)


def decode_value(value: bytes, encoding: str) -> bytes:
    """The value of a JSON body. Raises Invalid for an unknown `encoding` or text that is not base64."""
    if encoding in ("", "utf-8"):
        return value
    if encoding != "base64":
        raise Invalid("Invalid encoding: expected base64")
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        raise Invalid("Invalid base64 value") from None


def encode_value(value: bytes) -> tuple[str, bool]:
    """The value as JSON text, and whether it had to be base64 because it is not UTF-8."""
    try:
        return value.decode(), False
    except UnicodeDecodeError:
        return base64.b64encode(value).decode(), True
