"""The bodies and headers every HTTP answer shares: error shapes, CORS, plain texts."""

from __future__ import annotations

from typing import Final

import orjson

from konsul.kernel.logging import rfc3339, rfc3339_now

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
NOT_PERMITTED: Final = "insufficient permissions"
STOPPING_MESSAGE: Final = "the node is stopping"
TEXT: Final = b"text/plain; charset=utf-8"
JSON: Final = b"application/json"
CHALLENGE: Final = b'Bearer realm="konsul"'

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


def unauthenticated_body(message: str) -> bytes:
    """The shape MIN of a 401."""
    return orjson.dumps({"error": message})


def challenge(presented: bool) -> bytes:
    """`WWW-Authenticate` of a 401 (RFC 6750, section 3): without an error where nothing was brought."""
    return CHALLENGE + (b', error="invalid_token"' if presented else b"")


def forbidden_body(message: str, needs: str, resource: str) -> bytes:
    """A 403; where a permission is missing, which one. No path where there is nothing to choose from."""
    body = {"error": "forbidden", "message": message}
    if needs and message == NOT_PERMITTED:
        body["resource"], _, body["capability"] = needs.partition(":")
        if resource:
            body["path"] = resource
    return orjson.dumps(body)


def blocked_body(message: str, identifier: str) -> bytes:
    """The 403 of who is on the blacklist."""
    return orjson.dumps({"error": "access_denied", "message": message, "identifier": identifier})


def rate_limited_body(identifier: str, retry_after_s: int, reset_at: int) -> bytes:
    """The 429 of who is over its rate."""
    plural = "" if retry_after_s == 1 else "s"
    return orjson.dumps(
        {
            "error": "rate_limit_exceeded",
            "identifier": identifier,
            "message": f"Rate limit exceeded. Please retry after {retry_after_s} second{plural}.",
            "reset_at": rfc3339(reset_at),
            "retry_after": retry_after_s,
        }
    )


def read_failed_body(wanted: str, detail: str) -> bytes:
    """A read that cannot be as fresh as the client wants."""
    return orjson.dumps({"error": f"{wanted} read failed", "detail": detail})
