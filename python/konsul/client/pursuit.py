"""One watch from its first listing to its end, as a generator of effects: connecting, resuming, listing
again.

Like `exchange` it knows no socket and no clock. Whatever happens to servers and connections, the changes it
tells are every matching one once and in order, or a listing in the place of those that nobody knows any more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

from konsul import errors
from konsul.client.changes import Behind, Compacted, Connected, Disconnected, Notice, Relisted
from konsul.client.course import Course
from konsul.client.exchange import Lost, Policy, Unsent, retry_after_s, unreachable
from konsul.client.failure import error_of
from konsul.client.request import Answer, Flow, Params, Request, option
from konsul.client.seen import Seen
from konsul.client.sse import Heard

E = TypeVar("E")
Transport = Literal["sse", "websocket"]
OnCompacted = Literal["relist", "notice"]
PASSING = (
    errors.Busy,
    errors.NoLeader,
    errors.RateLimited,
    errors.Stopping,
    errors.Timeout,
    errors.Unreachable,
)
"""Refusals that may be over soon, or elsewhere."""


@dataclass(frozen=True, slots=True)
class Open:
    """Effect: open the stream `request` asks for. Answered by Opened, Answer (a refusal), Unsent or Lost."""

    url: str
    request: Request
    transport: Transport
    subprotocol: str | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """The stream is open."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Effect: wait for messages. Answered by a tuple of Heard, or by Lost when the stream ended."""


@dataclass(frozen=True, slots=True)
class Speak:
    """Effect: say something on a stream that goes both ways. Answered by None."""

    text: str


@dataclass(frozen=True, slots=True)
class Close:
    """Effect: close the stream. Answered by None."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Effect: do nothing for `pause_s`. Answered by None."""

    pause_s: float


@dataclass(frozen=True, slots=True)
class Ask:
    """Effect: carry out `flow`. Answered by its result, or by the KonsulError it ended with."""

    flow: Flow[Listing]


@dataclass(frozen=True, slots=True)
class Tell(Generic[E]):
    """Effect: hand `event` to the user. Answered by None once he wants the next one."""

    event: E


@dataclass(frozen=True, slots=True)
class Listing:
    """What matches now. The rows are at least as new as `index`; `newer` has the indices of newer ones."""

    index: int
    rows: tuple[Any, ...] = ()
    newer: Mapping[str, int] = field(default_factory=dict)


Effect = Open | Listen | Speak | Close | Pause | Ask | Tell[Any]
Reaction = Opened | Answer | Unsent | Lost | tuple[Heard, ...] | Listing | errors.KonsulError | None
Pursuit = Generator[Effect, Reaction, None]


Listed = Callable[[bool, int], Flow[Listing]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is watched. `read` makes the event of a document; `key_of` says whose change a document is, None
    for one without an index. `listed(rows, at_least)` lists the rows, or without `rows` finds the index only;
    None: what is watched has no past."""

    path: str
    route: str
    read: Callable[[Mapping[str, Any]], Any]
    key_of: Callable[[Mapping[str, Any]], str | None]
    listed: Listed | None
    params: Params = ()


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a watch is to go. See `KV.watch`."""

    since: int | None = None
    initial: bool = False
    transport: Transport = "sse"
    reconnect: bool = True
    notices: bool = False
    on_compacted: OnCompacted = "relist"

    def __post_init__(self) -> None:
        if self.transport not in ("sse", "websocket"):
            raise errors.Invalid(f"transport {self.transport!r} is neither sse nor websocket")
        if self.on_compacted not in ("relist", "notice"):
            raise errors.Invalid(f"on_compacted {self.on_compacted!r} is neither relist nor notice")
        if self.since is not None and self.initial:
            raise errors.Invalid("since cannot be combined with initial: the listing has an index of its own")
        if self.since is not None and self.since < 0:
            raise errors.Invalid(f"since {self.since} is below 0")


class Steps(Protocol):
    """What a watch carries out."""

    @property
    def index(self) -> int:
        """Every matching change at or before it was handed out."""

    def steps(self) -> Pursuit:
        """The effects, from the begin to the end."""


class Tracker:
    """The course of one watch. `index` may be kept: a later watch goes on `since` it."""

    def __init__(
        self,
        plan: Plan,
        wishes: Wishes,
        course: Course,
        policy: Policy,
        jitter: Callable[[], float],
        *,
        renews: bool = False,
    ) -> None:
        """`renews`: each stream is opened with a token of its time, so that one that is over is no end."""
        self._may_renew = self._renews = renews
        self._plan, self._wishes, self._course = plan, wishes, course
        self._policy, self._jitter = policy, jitter
        self._seen = Seen(wishes.since or 0)
        self._address = course.address
        self._failures = 0
        self._least_s = 0.0
        self._was_answered = False
        self._was_followed = False

    @property
    def index(self) -> int:
        """Every matching change at or before it was handed out."""
        return self._seen.floor

    def steps(self) -> Pursuit:
        """The effects. Raises the error of `konsul.errors` that trying again does not change."""
        wishes = self._wishes
        listed = self._plan.listed
        if listed is not None and wishes.since is None:
            yield from self._list(listed, "initial", wishes.initial, 0)
        while True:
            reply = yield Open(f"{self._address}{self._plan.path}", self._request(), wishes.transport)
            if isinstance(reply, Opened):
                self._seen.reconnected()
                yield from self._told(Connected(self._address, self._seen.floor))
                error = yield from self._follow()
                yield Close()
            else:
                error = self._refusal(reply)
            if not wishes.reconnect:
                raise error
            yield from self._again(error)

    def _request(self) -> Request:
        past = self._plan.listed is not None
        params = (
            *self._plan.params,
            *option("since", self._seen.floor if past else None),
            *option("progress", "true" if past else None),
        )
        return Request("GET", self._plan.path, self._plan.route, params)

    def _follow(self) -> Generator[Effect, Reaction, errors.KonsulError]:
        """Tells what the stream says until it ends; returns why it did."""
        while True:
            heard = yield Listen()
            if not isinstance(heard, tuple):
                return unreachable(heard if isinstance(heard, Lost) else None, self._address, writes=False)
            for one in heard:
                error = yield from self._understand(one)
                if error is not None:
                    return error
                self._failures, self._was_answered, self._was_followed = 0, True, True
                self._may_renew = self._renews

    def _understand(self, heard: Heard) -> Generator[Effect, Reaction, errors.KonsulError | None]:
        document = _document(heard)
        kind = document.get("type", "")
        if "error" in document:
            return stream_error(document)
        if kind == "closed":
            return errors.Unreachable(f"the server ended the watch: {document.get('reason', '')}")
        if kind == "behind":
            yield from self._told(Behind(int(document.get("resume_index", 0))))
        elif kind == "compacted":
            yield from self._compacted(int(document["modify_index"]))
        elif kind == "progress":
            self._seen.passed(int(document["modify_index"]))
        elif document:
            has_place = yield from self._change(document)
            if not has_place:
                return None
            if document.get("complete"):
                self._seen.passed(int(document["modify_index"]))
        # The id of all but the last change of an entry is the index before it: docs/concepts/watches.md.
        if heard.id.isdecimal():
            self._seen.passed(int(heard.id))
        return None

    def _change(self, document: Mapping[str, Any]) -> Generator[Effect, Reaction, bool]:
        """Whether it has a place among the indices; heartbeats and the cluster have none."""
        key = self._plan.key_of(document)
        if key is not None:
            index = int(document["modify_index"])
            if not self._seen.is_new(index, key):
                return True
            self._course.reached(index)
        yield Tell(self._plan.read(document))
        return key is not None

    def _compacted(self, index: int) -> Generator[Effect, Reaction, None]:
        since = self._seen.floor
        yield from self._told(Compacted(index))
        listed = self._plan.listed
        if self._wishes.on_compacted == "relist" and listed is not None:
            yield from self._list(listed, "compacted", True, max(index, since))
        else:
            self._seen.relisted(index, {})

    def _list(
        self, listed: Listed, reason: Literal["initial", "compacted"], rows: bool, at_least: int
    ) -> Generator[Effect, Reaction, None]:
        listing: Reaction = None
        while not isinstance(listing, Listing):
            listing = yield Ask(listed(rows, at_least))
            if isinstance(listing, errors.KonsulError):
                if not self._was_answered:
                    # The calls of the listing had retries of their own: nobody is there.
                    raise listing
                yield from self._again(listing)
        self._was_answered = True
        self._seen.relisted(listing.index, listing.newer)
        if rows:
            yield Tell(Relisted(reason, listing.index, listing.rows))

    def _told(self, notice: Notice) -> Generator[Effect, Reaction, None]:
        if self._wishes.notices:
            yield Tell(notice)

    def _refusal(self, reply: Reaction) -> errors.KonsulError:
        if isinstance(reply, Answer):
            self._least_s = retry_after_s(reply)
            return error_of(reply, self._request())
        lost = reply if isinstance(reply, (Lost, Unsent)) else None
        return unreachable(lost, self._address, writes=False)

    def _again(self, error: errors.KonsulError) -> Generator[Effect, Reaction, None]:
        """Moves on to another server, after a pause. Raises `error` when that cannot help."""
        self._failures += 1
        if isinstance(error, errors.Unauthenticated) and self._may_renew and self._was_followed:
            # Once: refused with another token, it is not for being old.
            self._may_renew = False
        elif not isinstance(error, PASSING) or isinstance(error, errors.Unsupported):
            raise error
        # A listing before it does not make a watch that never began worth endless attempts at a full server.
        was_well = self._was_followed if isinstance(error, errors.RateLimited) else self._was_answered
        if not was_well and self._failures > self._policy.retries * len(self._course.addresses):
            raise error
        left, self._address = self._address, self._course.leave(self._address)
        pause_s = max(self._policy.pause_s(self._failures, self._jitter()), self._least_s)
        self._least_s = 0.0
        yield from self._told(Disconnected(left, str(error), pause_s))
        yield Pause(pause_s)


def stream_error(document: Mapping[str, Any]) -> errors.KonsulError:
    """The error that a server told inside an open stream, where there is no status."""
    name, message = str(document["error"]), str(document.get("message") or document["error"])
    if name == "forbidden":
        return errors.Forbidden(message)
    if name == "unauthorized":
        return errors.Unauthenticated(message)
    if name == "failed to add watcher":
        reason = str(document.get("reason") or "")
        return errors.RateLimited(f"{message}: {reason}" if reason else message)
    return errors.Unreachable(f"the server ended the stream: {message}")


def _document(heard: Heard) -> dict[str, Any]:
    if not heard.data:
        return {}
    try:
        document = json.loads(heard.data)
    except ValueError as cause:
        raise errors.Internal(f"the server sent a message that cannot be read: {cause}") from cause
    if not isinstance(document, dict):
        raise errors.Internal("the server sent a message that is no object")
    return document
