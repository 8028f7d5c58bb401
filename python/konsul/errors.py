"""Every error of Konsul: one class, one code, one HTTP status, one exit status. Standard library only."""

from __future__ import annotations

from typing import ClassVar


class KonsulError(Exception):
    """The root. `code` 0 is never on the wire; subclasses register themselves by `code`.

    A code used twice fails at import, so the map the native core relies on cannot drift silently.
    """

    code: ClassVar[int] = 0
    http_status: ClassVar[int] = 500
    exit_status: ClassVar[int] = 1
    by_code: ClassVar[dict[int, type[KonsulError]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        taken = KonsulError.by_code.setdefault(cls.code, cls)
        if taken is not cls:
            raise TypeError(f"error code {cls.code} belongs to {taken.__name__}, not also to {cls.__name__}")


class Conflict(KonsulError):
    """No case's guards held. `current` is the modify_index of the row under `key` (0: absent)."""

    code = 1
    http_status = 409
    exit_status = 4

    def __init__(self, message: str = "conflict", *, key: bytes = b"", current: int = 0) -> None:
        super().__init__(message)
        self.key = key
        self.current = current


class NotFound(KonsulError):
    """What was named does not exist (also: a patch of an absent row)."""

    code = 2
    http_status = 404
    exit_status = 3


class Invalid(KonsulError):
    """The input cannot be understood or breaks a rule; nothing was stored."""

    code = 3
    http_status = 400
    exit_status = 2


class TooLarge(KonsulError):
    """A key, row, entry or body is over its limit."""

    code = 4
    http_status = 413
    exit_status = 2


class LimitReached(KonsulError):
    """An `add` would pass its ceiling: a quota is used up."""

    code = 5
    http_status = 409
    exit_status = 4


class Duplicate(KonsulError):
    """A unique index already holds the value."""

    code = 6
    http_status = 409
    exit_status = 4


class Timeout(KonsulError):
    """No answer in time; the write may still be applied."""

    code = 7
    http_status = 504
    exit_status = 5


class NoLeader(KonsulError):
    """No leader is known; try again."""

    code = 8
    http_status = 503
    exit_status = 5


class Busy(KonsulError):
    """Too many proposals wait; try again."""

    code = 9
    http_status = 503
    exit_status = 5


class DiskFull(KonsulError):
    """The data directory's disk has no room left; reads go on, writes resume when space returns."""

    code = 10
    http_status = 507


class Stopping(KonsulError):
    """The node is shutting down."""

    code = 11
    http_status = 503
    exit_status = 5


class Unsupported(KonsulError):
    """The node's schema or version does not know what was asked."""

    code = 12
    http_status = 400
    exit_status = 2


class StartFailed(KonsulError):
    """The node cannot start: data directory locked, read-only, corrupt, or from another version."""

    code = 13


class Unauthenticated(KonsulError):
    """No identity, or one that cannot be verified."""

    code = 14
    http_status = 401

    def __init__(
        self, message: str = "unauthorized", *, presented: bool | None = None, reason: str = ""
    ) -> None:
        """`presented`: credentials were brought and do not hold; by default said by the message. `reason` is
        for the audit only."""
        super().__init__(message)
        self.reason = reason
        self.presented = message not in self.NOTHING_BROUGHT if presented is None else presented

    NOTHING_BROUGHT: ClassVar[frozenset[str]] = frozenset(
        ("unauthorized", "missing authorization header", "missing API key")
    )


class Forbidden(KonsulError):
    """The identity may not do this."""

    code = 15
    http_status = 403

    def __init__(
        self,
        message: str = "insufficient permissions",
        *,
        needs: str = "",
        resource: str = "",
        reason: str = "",
    ) -> None:
        """`needs` is `resource type:capability`, where it is known; `reason` is for the audit only."""
        super().__init__(message)
        self.needs = needs
        self.resource = resource
        self.reason = reason

    def name(self, needs: str, resource: str) -> None:
        """Notes what was refused, for doors that tell; what was noted first stays."""
        self.needs = self.needs or needs
        self.resource = self.resource or resource


class Blocked(KonsulError):
    """The client is on the blacklist."""

    code = 20
    http_status = 403

    def __init__(
        self, message: str = "Your access has been blocked", *, identifier: str = "", reason: str = ""
    ) -> None:
        """`identifier`: `ip:<address>` or `apikey:<key id>`; `reason` is for the audit only."""
        super().__init__(message)
        self.identifier = identifier
        self.reason = reason


class RateLimited(KonsulError):
    """The client is over its rate."""

    code = 16
    http_status = 429

    def __init__(
        self,
        message: str = "rate limit exceeded",
        *,
        identifier: str = "",
        retry_after_s: int = 1,
        reset_at: int = 0,
        headers: list[tuple[bytes, bytes]] | None = None,
    ) -> None:
        """`headers`: of the answer, without Retry-After. `reset_at`: Unix time in s at which one token is
        there again."""
        super().__init__(message)
        self.identifier = identifier
        self.retry_after_s = retry_after_s
        self.reset_at = reset_at
        self.headers = headers or []


class Unreachable(KonsulError):
    """The server does not answer (client side)."""

    code = 17
    http_status = 502
    exit_status = 5


class TooMany(KonsulError):
    """As many of something are open as may be; the message names the setting."""

    code = 19
    http_status = 429
    exit_status = 5


class Internal(KonsulError):
    """A defect of Konsul itself."""

    code = 18
