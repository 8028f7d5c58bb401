"""One call from its first attempt to its result, as a generator of effects: retries, back-off, redirects,
deadline.

It knows no socket and no clock: the driver (sync or async) sends, waits, and passes the time in. So both
clients have the same behaviour, and a test walks through an hour of back-off in microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import TypeVar
from urllib.parse import urlsplit

from konsul.client.course import Course, with_deadline
from konsul.client.failure import error_of
from konsul.client.request import Answer, Call, Request
from konsul.errors import Internal, KonsulError, Timeout, Unreachable, Unsupported

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Policy:
    """How long to go on.

    `deadline_s` bounds the whole call; `retries` the attempts after the first one, where asking every server
    once counts as one; `attempt_s` the wait for a server while there is another.
    """

    deadline_s: float = 30.0
    retries: int = 4
    pause_first_s: float = 0.05
    pause_max_s: float = 2.0
    redirects: int = 4
    attempt_s: float = 10.0

    def pause_s(self, attempt: int, jitter: float) -> float:
        """Full-jitter exponential back-off before retry number `attempt` (from 1); `jitter` is drawn from
        [0, 1).

        Full jitter spreads a fleet's retries best: Brooker, "Exponential Backoff And Jitter", 2015.
        """
        ceiling = min(self.pause_max_s, self.pause_first_s * 2 ** (attempt - 1))
        return float(ceiling * jitter)


@dataclass(frozen=True, slots=True)
class Send:
    """Effect: send `request` to `url`, giving up after `timeout_s`. Answered by Answer, Unsent or Lost."""

    url: str
    request: Request
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Effect: do nothing for `pause_s`. Answered by None."""

    pause_s: float


@dataclass(frozen=True, slots=True)
class Unsent:
    """No connection: the server has certainly not seen the request."""

    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection or the time ended after sending began: the outcome is unknown."""

    reason: str
    timed_out: bool = False
    code: int = 0
    """Of a WebSocket that the server closed."""


Reply = Answer | Unsent | Lost | None
Exchange = Generator[Send | Wait, Reply, T]


def exchange(
    call: Call[T], course: Course, policy: Policy, clock: Callable[[], float], jitter: Callable[[], float]
) -> Exchange[T]:
    """Carry `call` to its result. Raises the error of `konsul.errors` that ended it.

    What may be repeated: anything that was certainly not sent; and after a refusal for now or a lost
    connection, what is safe to repeat (see `Course`): its outcome is unknown. A compare-and-set without a key
    is not: the second try would report a conflict with the first one's own success.
    """
    deadline = clock() + policy.deadline_s + call.patience_s
    asked = course.prepared(call.request)
    address = course.address
    request, url = asked, address + asked.path
    tried = {address}
    attempt = hops = 0
    while True:
        left_s = max(0.001, deadline - clock())
        timeout_s = min(left_s, course.attempt_s(asked, left_s) + call.patience_s)
        reply = yield Send(url, with_deadline(request, timeout_s), timeout_s)
        if isinstance(reply, Answer):
            if reply.status < 300 or reply.status in call.accepts:
                course.saw(reply)
                return _result(call, reply)
            target = course.redirected(reply, url) if hops < policy.redirects else None
            if target is not None:
                hops += 1
                # A Location without a query must not turn a compare-and-set into a plain write.
                url, request = target, replace(request, params=() if urlsplit(target).query else asked.params)
                continue
            error = error_of(reply, request)
            again = _may_pass(reply, error) and course.is_safe_to_repeat(asked)
            least_s = retry_after_s(reply)
        else:
            error = unreachable(reply, address)
            again = isinstance(reply, Unsent) or course.is_safe_to_repeat(asked)
            least_s = 0.0
        if not again:
            raise error
        address = course.leave(address)
        if address in tried:
            attempt += 1
            pause_s = max(policy.pause_s(attempt, jitter()), least_s)
            if attempt > policy.retries or clock() + pause_s >= deadline:
                raise error
            yield Wait(pause_s)
            tried.clear()
        elif clock() >= deadline:
            raise error
        tried.add(address)
        # A redirect points at whoever led then; after a failure ask a configured server again.
        request, url, hops = asked, address + asked.path, 0


def _may_pass(answer: Answer, error: KonsulError) -> bool:
    """Whether the refusal may be another one soon, or elsewhere."""
    # A server without a cluster says so with a 503, and will say so again.
    return answer.status in (502, 503, 504) and not isinstance(error, Unsupported)


def _result(call: Call[T], answer: Answer) -> T:
    try:
        return call.read(answer)
    except (AttributeError, KeyError, TypeError, ValueError) as cause:
        raise Internal(f"the answer to {call.request.route} cannot be read: {cause!r}") from cause


def retry_after_s(answer: Answer) -> float:
    """The server's wish in seconds, 0 when it has none (a date is not used by Konsul and counts as none)."""
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else 0.0


def unreachable(reply: Unsent | Lost | None, address: str, *, writes: bool = True) -> KonsulError:
    """The error of an attempt without an answer; `writes`: whether it may have changed something."""
    if isinstance(reply, Lost) and not writes:
        if reply.timed_out:
            return Timeout(f"no answer from {address} in time")
        return Unreachable(f"the connection to {address} ended: {reply.reason}")
    if isinstance(reply, Lost) and reply.timed_out:
        return Timeout(f"no answer from {address} in time; a write may still be applied")
    if isinstance(reply, Lost):
        return Unreachable(
            f"the connection to {address} ended before an answer; a write may be applied: {reply.reason}"
        )
    reason = reply.reason if isinstance(reply, Unsent) else "no answer"
    return Unreachable(f"cannot connect to {address}: {reason}")
