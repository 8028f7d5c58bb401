"""What the calls of one client share: which server is asked, and which index was seen last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit
from uuid import uuid4

from konsul.client.request import Answer, Request, option
from konsul.errors import Invalid

if TYPE_CHECKING:
    from konsul.client.settings import Settings

TIMEOUT_HINT_S = 5.0
"""The server's own patience with the log; a shorter deadline is told to it."""
MIN_INDEX = "X-Konsul-Min-Index"


def new_key() -> str:
    """An Idempotency-Key nobody else has."""
    return uuid4().hex


class Course:
    """Shared by threads. `new_key` is a seam for tests."""

    def __init__(self, settings: Settings, new_key: Callable[[], str] = new_key) -> None:
        self._settings = settings
        self._addresses = settings.addresses
        self._trusted = {_origin(one) for one in (*settings.addresses, *settings.redirect_to)}
        self._new_key = new_key
        # A client that asks one server once repeats nothing: the server need not remember its writes.
        self._keyed = settings.idempotent and (settings.policy.retries > 0 or len(settings.addresses) > 1)
        self._lock = Lock()
        self._at = 0
        self._last_index = 0

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every server there is to ask."""
        return self._addresses

    @property
    def address(self) -> str:
        """The server to ask: the one that answered last."""
        return self._addresses[self._at]

    @property
    def last_index(self) -> int:
        """The highest index any answer named; 0 before the first."""
        return self._last_index

    def leave(self, address: str) -> str:
        """Moves on from a server that did not help; returns whom to ask instead, itself if there is no
        other."""
        with self._lock:
            at = self._addresses.index(address)
            if at == self._at:
                self._at = (at + 1) % len(self._addresses)
            return self._addresses[(at + 1) % len(self._addresses)]

    def saw(self, answer: Answer) -> None:
        """Notes the index of an answer."""
        text = answer.headers.get("x-konsul-index", "")
        if text.isdecimal():
            self.reached(int(text))

    def reached(self, index: int) -> None:
        """Notes an index that the client has seen."""
        with self._lock:
            self._last_index = max(self._last_index, index)

    def prepared(self, request: Request) -> Request:
        """The request with what the settings add: a key to a write, how fresh a read must be."""
        settings = self._settings
        if request.kind == "write" and self._keyed:
            return _adding(request, {"Idempotency-Key": self._new_key()})
        if request.kind != "read":
            return request
        if settings.read_your_writes and self._last_index:
            at_least = max(self._last_index, int(request.headers.get(MIN_INDEX, 0)))
            request = _adding(request, {MIN_INDEX: str(at_least)})
        if any(name == "consistency" for name, _ in request.params):
            return request
        wish = (
            *option("consistency", settings.consistency),
            *option("max_stale", settings.max_stale),
        )
        return replace(request, params=(*request.params, *wish))

    def is_safe_to_repeat(self, request: Request) -> bool:
        """True when sending it again cannot do more than once what it does."""
        return request.repeatable or (request.kind == "write" and self._keyed)

    def attempt_s(self, request: Request, left_s: float) -> float:
        """How long to wait for one server. While there is another, a silent one does not get all the time."""
        if len(self._addresses) > 1 and self.is_safe_to_repeat(request):
            return min(left_s, self._settings.policy.attempt_s)
        return left_s

    def redirected(self, answer: Answer, url: str) -> str | None:
        """The target of a redirect that keeps method and body, or None.

        Raises:
            Invalid: it points at a server nobody named, or from https to http: credentials travel along.
        """
        location = answer.headers.get("location", "")
        if answer.status not in (307, 308) or not location:
            return None
        target = urljoin(url, location)
        if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
            raise Invalid(f"refusing to follow a redirect from https to {target}")
        if _origin(target) not in self._trusted:
            raise Invalid(
                f"refusing to follow a redirect to {target}: none of the addresses this client was given"
            )
        return target


def with_deadline(request: Request, left_s: float) -> Request:
    """Tells the server a deadline that is shorter than its own."""
    if request.kind == "other" or left_s >= TIMEOUT_HINT_S:
        return request
    return _adding(request, {"X-Konsul-Timeout-Ms": str(max(1, int(left_s * 1_000)))})


def _adding(request: Request, headers: Mapping[str, str]) -> Request:
    return replace(request, headers={**request.headers, **headers})


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
