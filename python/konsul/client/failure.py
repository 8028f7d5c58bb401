"""From an HTTP answer that is not a success to one error of `konsul.errors`."""

from __future__ import annotations

import json
import re
from typing import Any

from konsul import errors
from konsul.client.request import Answer, Request

BY_STATUS: dict[int, type[errors.KonsulError]] = {
    400: errors.Invalid,
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.Unsupported,
    409: errors.Conflict,
    413: errors.TooLarge,
    415: errors.Invalid,
    422: errors.Invalid,
    429: errors.RateLimited,
    431: errors.TooLarge,
    502: errors.Unreachable,
    503: errors.Busy,
    504: errors.Timeout,
    507: errors.DiskFull,
}
CURRENT = re.compile(r"current is (\d+)")
NO_LEADER = re.compile(r"no leader|not (the )?leader", re.IGNORECASE)
NOT_ENABLED = "clustering not enabled"
OFF = (
    ("/auth/", "authentication is off on this server: KONSUL_AUTH_ENABLED turns it on"),
    ("/acl/", "policies are off on this server: KONSUL_ACL_ENABLED turns them on"),
)
"""What a server has no routes for below these paths while it is unguarded, and why."""
TEXT_LIMIT_CHARS = 500


class HttpAnswer(Exception):
    """The cause of an error that a server sent: what was on the wire, for those who want more than the
    class."""

    def __init__(self, status: int, error: str, message: str, request_id: str, needed: str = "") -> None:
        """`needed`: what a refusal would have taken, such as `kv:write on app/db`."""
        super().__init__(f"{status} {error}: {message}")
        self.status = status
        self.error = error
        self.message = message
        self.request_id = request_id
        self.needed = needed


def error_of(answer: Answer, request: Request) -> errors.KonsulError:
    """The error for a refusal, with the server's words, the request id in the message and HttpAnswer as
    its cause."""
    cause = _read(answer)
    message = cause.message or cause.error or f"HTTP status {answer.status}"
    if cause.needed:
        message = f"{message}: {cause.needed}"
    if cause.request_id:
        message = f"{message} (request {cause.request_id})"
    error = _classify(answer.status, cause, message, request)
    error.__cause__ = cause
    return error


def _classify(status: int, cause: HttpAnswer, message: str, request: Request) -> errors.KonsulError:
    if status == 409:
        return _conflict(cause, message)
    if status == 404 and cause.message.startswith("Cannot "):
        off = next((why for prefix, why in OFF if request.path.startswith(prefix)), None)
        return errors.Unsupported(off or f"the server does not know {request.route}: {message}")
    if status == 503 and cause.error == NOT_ENABLED:
        return errors.Unsupported(message)
    if status == 503 and NO_LEADER.search(f"{cause.error} {cause.message}"):
        return errors.NoLeader(message)
    fallback = errors.Internal if status >= 500 else errors.Invalid
    return BY_STATUS.get(status, fallback)(message)


def _conflict(cause: HttpAnswer, message: str) -> errors.KonsulError:
    if cause.error == "CAS conflict":
        current = CURRENT.search(cause.message)
        return errors.Conflict(message, current=int(current.group(1)) if current else 0)
    if "limit" in cause.message.lower():
        return errors.LimitReached(message)
    if "duplicate" in cause.message.lower():
        return errors.Duplicate(message)
    return errors.Conflict(message)


def _read(answer: Answer) -> HttpAnswer:
    request_id = answer.headers.get("x-request-id", "")
    try:
        body: Any = json.loads(answer.body)
    except ValueError:
        body = None
    if isinstance(body, dict):
        return HttpAnswer(
            answer.status,
            str(body.get("error") or ""),
            str(body.get("message") or body.get("detail") or body.get("error") or ""),
            str(body.get("request_id") or request_id),
            _needed(body) if answer.status == 403 else "",
        )
    text = answer.body.decode("utf-8", "replace").strip()[:TEXT_LIMIT_CHARS]
    return HttpAnswer(answer.status, "", text, request_id)


def _needed(body: dict[str, Any]) -> str:
    resource, capability, path = (body.get(name) for name in ("resource", "capability", "path"))
    if not isinstance(resource, str) or not isinstance(capability, str):
        return ""
    return f"{resource}:{capability}" + (f" on {path}" if isinstance(path, str) and path else "")
