"""The bodies and headers every HTTP answer shares: error shapes, CORS, plain texts."""

from __future__ import annotations

from typing import Final

import orjson

from konsul.kernel.logging import rfc3339_now

Headers = list[tuple[bytes, bytes]]

# Python's own phrases change between its versions (413, 422); clients compare these.
PHRASES: Final = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    409: "Conflict",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    507: "Insufficient Storage",
}
INTERNAL_MESSAGE: Final = "Internal server error"
STOPPING_MESSAGE: Final = "the node is stopping"
TEXT: Final = b"text/plain; charset=utf-8"
JSON: Final = b"application/json"

PREFLIGHT_HEADERS: Final[Headers] = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET,POST,PUT,DELETE,OPTIONS"),
    (b"access-control-allow-headers", b"Origin,Content-Type,Accept,Authorization,X-API-Key"),
    (b"access-control-max-age", b"3600"),
    (b"access-control-expose-headers", b"Content-Length"),
    (b"vary", b"Access-Control-Request-Method, Access-Control-Request-Headers, Origin"),
]
ORIGIN_HEADERS: Final[Headers] = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-max-age", b"3600"),
    (b"access-control-expose-headers", b"Content-Length"),
]


def contact_headers(known_leader: bool, last_contact_ms: int, index: int) -> Headers:
    """What every answer says about the node behind it."""
    return [
        (b"x-konsul-index", b"%d" % index),
        (b"x-konsul-known-leader", b"true" if known_leader else b"false"),
        (b"x-konsul-last-contact", b"%d" % last_contact_ms),
    ]


def error_body(error: str, message: str, request_id: str, path: str) -> bytes:
    """A JSON error; `path` is as the client sent it."""
    return orjson.dumps(
        {
            "error": error,
            "message": message,
            "request_id": request_id,
            "timestamp": rfc3339_now(),
            "path": path,
        }
    )


def standard_body(status: int, message: str, request_id: str, path: str) -> bytes:
    """The shape STD: `error` is the reason phrase."""
    return error_body(PHRASES.get(status, "Error"), message, request_id, path)


def conflict_body(message: str, request_id: str, path: str) -> bytes:
    """The shape CAS."""
    return error_body("CAS conflict", message, request_id, path)


def read_failed_body(wanted: str, detail: str) -> bytes:
    """A read that cannot be as fresh as the client wants."""
    return orjson.dumps({"error": f"{wanted} read failed", "detail": detail})
