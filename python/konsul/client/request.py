"""A call as plain data: what to send and how to read the answer. No socket, no clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

from konsul.errors import Internal, Invalid

T = TypeVar("T")
Params = tuple[tuple[str, str], ...]
Progress = Callable[[int], None]
"""Told how many more are done."""

JSON = "application/json"
MSGPACK = "application/msgpack"
BYTES = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, relative to the server's address. `path` is percent-encoded already.

    `route` is the template that names the call in reports (`PUT /kv/{key}`). `repeatable` says that
    sending it twice leaves the same state as once, so that it may be repeated when the first outcome is
    unknown. `kind`: a read takes freshness, a write an Idempotency-Key, under which it may be repeated too.
    """

    method: str
    path: str
    route: str
    params: Params = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    repeatable: bool = False
    kind: Literal["read", "write", "other"] = "other"


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON, or MessagePack where the server says so. Raises Internal when it is neither."""
        try:
            if self.headers.get("content-type", "").startswith(MSGPACK):
                import msgpack

                return msgpack.unpackb(self.body)
            return json.loads(self.body)
        except ValueError as cause:
            raise Internal(f"the server's answer cannot be read: {cause}") from cause


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request with the reader of its answer. `accepts` are statuses from 300 up that are an answer, not
    an error. `patience_s`: how long the server may hold the answer back, on top of any limit of time."""

    request: Request
    read: Callable[[Answer], T]
    accepts: frozenset[int] = frozenset()
    patience_s: float = 0.0


Flow = Generator[Call[Any], Any, T]
"""Several calls that make one operation: yields each call, is sent its result, returns the operation's
result."""


def segment(text: str) -> str:
    """One path segment. Dots are escaped in `.` and `..`, which URL libraries would fold away."""
    if text in (".", ".."):
        return text.replace(".", "%2E")
    return quote(text, safe="")


def key_path(key: str) -> str:
    """The path of a key: inner slashes stay readable, trailing ones are escaped, for the server strips
    bare ones.

    Raises Invalid for the empty key, which would address the listing.
    """
    if not key:
        raise Invalid("key is required")
    stem = key.rstrip("/")
    return "/kv/" + "/".join(segment(part) for part in stem.split("/")) + "%2F" * (len(key) - len(stem))


def flag(name: str, on: bool) -> Params:
    """A boolean query parameter; the server reads only the exact text `true`."""
    return ((name, "true"),) if on else ()


def option(name: str, value: object | None) -> Params:
    """A query parameter that is left out when there is no value."""
    return () if value is None else ((name, str(value)),)


def quiet(_: int) -> None:
    """The progress of what nobody watches."""
