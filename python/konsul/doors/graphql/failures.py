"""What clients are told of an error: a code, a message of the contract, and nothing of the inside."""

from __future__ import annotations

from typing import Any, Final

from graphql import GraphQLError, GraphQLSyntaxError

from konsul import errors
from konsul.kernel.asking import Asking
from konsul.kernel.graph import Compacted
from konsul.kernel.logging import logger
from konsul.kernel.reading import ReadFailed
from konsul.kernel.writing import Elsewhere

PARSE_FAILED: Final = "GRAPHQL_PARSE_FAILED"
VALIDATION_FAILED: Final = "GRAPHQL_VALIDATION_FAILED"
INTERNAL: Final = "INTERNAL_ERROR"
INTERNAL_MESSAGE: Final = "internal system error"

CODES: Final[dict[type[Exception], str]] = {
    errors.Conflict: "CONFLICT",
    errors.NotFound: "NOT_FOUND",
    errors.Invalid: "INVALID_INPUT",
    errors.Unsupported: "INVALID_INPUT",
    errors.TooLarge: "TOO_LARGE",
    errors.LimitReached: "LIMIT_REACHED",
    errors.Duplicate: "ALREADY_EXISTS",
    errors.Timeout: "TIMEOUT",
    errors.NoLeader: "NO_LEADER",
    errors.Busy: "BUSY",
    errors.DiskFull: "DISK_FULL",
    errors.Stopping: "STOPPING",
    errors.Unauthenticated: "UNAUTHORIZED",
    errors.Forbidden: "FORBIDDEN",
    errors.Blocked: "FORBIDDEN",
    errors.RateLimited: "RATE_LIMITED",
    errors.TooMany: "RATE_LIMITED",
    Compacted: "COMPACTED",
    ReadFailed: "NO_LEADER",
    Elsewhere: "NOT_LEADER",
}
"""`extensions.code` of every error that is somebody's fault or a state of the node. Others are defects."""


def tell(error: GraphQLError, asking: object) -> None:
    """Gives the error its code and the message clients may see, in place; a defect is logged.

    An error that brings a code keeps everything it says: a limit of the door has told already.
    """
    extensions: dict[str, Any] = dict(error.extensions or {})
    if "code" in extensions:
        return
    cause = _cause(error)
    if cause is None:
        extensions["code"] = PARSE_FAILED if isinstance(error, GraphQLSyntaxError) else VALIDATION_FAILED
    else:
        code = CODES.get(type(cause), INTERNAL)
        extensions["code"] = code
        error.message = INTERNAL_MESSAGE if code == INTERNAL else _message(cause)
        extensions |= _details(cause)
        if code == INTERNAL:
            _log(cause, error, asking)
    error.extensions = extensions


def _cause(error: GraphQLError) -> Exception | None:
    """What a resolver raised; None for what is wrong with the document or its variables."""
    cause: BaseException | None = error.original_error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    if cause is None and error.path is not None and not isinstance(error, GraphQLSyntaxError):
        return errors.Internal(error.message)
    return cause if isinstance(cause, Exception) else None


def _message(cause: Exception) -> str:
    if isinstance(cause, errors.Unauthenticated):
        return "unauthorized"
    if isinstance(cause, errors.Forbidden):
        text = str(cause)
        return text if text.startswith("forbidden") else "forbidden: insufficient permissions"
    if isinstance(cause, Elsewhere):
        return "not the leader"
    return str(cause)


def _details(cause: Exception) -> dict[str, Any]:
    if isinstance(cause, errors.Forbidden):
        return {"resource": cause.resource, "action": cause.needs}
    if isinstance(cause, errors.Conflict):
        return {"modifyIndex": cause.current}
    if isinstance(cause, Elsewhere):
        return {"leader": cause.http_address}
    if isinstance(cause, Compacted):
        return {"modifyIndex": cause.index}
    return {}


def _log(cause: Exception, error: GraphQLError, asking: object) -> None:
    request_id = asking.context.request_id if isinstance(asking, Asking) else ""
    path = ".".join(str(step) for step in error.path or ())
    logger().error("graphql field failed", request_id=request_id, path=path, error=str(cause), exc_info=cause)
