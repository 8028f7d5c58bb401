"""What the door itself refuses, before anything is executed: one class, a code, a status of HTTP."""

from __future__ import annotations

from typing import Any, Final

OK: Final = 200
BAD_REQUEST: Final = 400
NOT_ACCEPTABLE: Final = 406
UNPROCESSABLE: Final = 422


class Refused(Exception):
    """An operation, or a whole request, that is not executed. `code` goes into `extensions.code`."""

    def __init__(self, code: str, message: str, *, status: int = OK, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.details = details

    def told(self) -> dict[str, Any]:
        """As an error of GraphQL."""
        return {"message": str(self), "extensions": {"code": self.code, **self.details}}

    def body(self) -> dict[str, Any]:
        """As the answer to the operation."""
        return {"errors": [self.told()], "data": None}


def bad_request(message: str) -> Refused:
    """The request is not one of GraphQL over HTTP."""
    return Refused("BAD_REQUEST", message, status=BAD_REQUEST)


def not_valid(message: str, code: str = "GRAPHQL_VALIDATION_FAILED") -> Refused:
    """The document or what came with it cannot be executed."""
    return Refused(code, message, status=UNPROCESSABLE)


def over(code: str, found: str, limit: int, setting: str) -> Refused:
    """Something is larger than a setting allows."""
    return Refused(code, f"{found}, the limit is {limit} ({setting})", limit=limit)


def rate_limited(message: str, retry_after_s: int) -> Refused:
    """The client has to wait."""
    return Refused("RATE_LIMITED", message, retryAfter=retry_after_s)
