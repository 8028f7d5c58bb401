"""What both kinds of locks go by: whom to believe and until when, and how keys of locks and semaphores look.

Whoever holds a lock believes it only until a TTL after he began the last renewal that was answered: from then
on the servers may give it away, whether he has heard of it or not (Gray and Cheriton, "Leases", 1989).
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from konsul.client import kv_calls
from konsul.client.model import KeyValue
from konsul.client.request import Answer, Call, Request, flag, option
from konsul.client.settings import Settings
from konsul.errors import Busy, Conflict, Internal, Invalid, NoLeader, Stopping, Timeout, Unreachable

LOCK_FLAGS: Final = 0x2DDC_CBC0_58A5_0C18
"""Flags of keys that are locks; those of Consul's clients, so that both see what a key is for."""
SEMAPHORE_FLAGS: Final = 0xE0F6_9A2B_AA41_4DE0
POLL_S: Final = 30.0
"""How long one read waits for a change before it is asked anew."""
PAUSE_S: Final = 0.2
"""Between attempts that failed for now; twice that at most, drawn at random."""
UNREADABLE_PAUSE_S: Final = 1.0
"""Between attempts of a caller who may write a key and not read it."""
FOR_NOW: Final = (Unreachable, NoLeader, Timeout, Busy, Stopping, Internal)
"""Errors that may be over soon."""
_draw: Final = random.random
_DURATION_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0}


def boot_clock_s() -> float:
    """Seconds on a clock that is never set and does not stand still while the machine sleeps."""
    clock: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def drawn_s(pause_s: float) -> float:
    """A pause drawn from once to twice as long, so that many who fail together do not come back together."""
    return pause_s * (1 + _draw())


def seconds(text: str) -> float:
    """A duration in Go's text as seconds. Raises Invalid for anything else."""
    import re

    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise Invalid(f"{text!r} is not a duration such as 15s or 1m30s")
    return sum(float(number) * _DURATION_S[unit] for number, unit in parts)


def hurried(settings: Settings, ttl_s: float) -> Settings:
    """The settings of who keeps a session alive: a server that is silent must not cost him the TTL."""
    policy = replace(
        settings.policy,
        deadline_s=min(settings.policy.deadline_s, max(0.5, ttl_s / 3)),
        attempt_s=min(settings.policy.attempt_s, max(0.2, ttl_s / 10)),
        pause_max_s=min(settings.policy.pause_max_s, max(0.05, ttl_s / 20)),
    )
    given = ",".join(settings.addresses)
    return replace(
        settings, address=given, policy=policy, read_your_writes=False, consistency=None, max_stale=None
    )


@dataclass(frozen=True, slots=True)
class Holding:
    """What is held. `lock_index` is the fencing token: nobody gets a lower one for this key later on."""

    path: str
    session: str
    lock_index: int
    index: int


class Belief:
    """Until when a session may be believed alive, by what its renewals were answered."""

    def __init__(self, ttl_s: float, started_s: float, clock: Callable[[], float]) -> None:
        self.ttl_s, self._clock = ttl_s, clock
        self._until_s = started_s + ttl_s
        self.reason = ""
        """Why it is over, once it was said to be; empty before."""

    def renewed(self, started_s: float) -> None:
        """A renewal that was begun at `started_s` was answered. What was over stays over."""
        if not self.is_over():
            self._until_s = max(self._until_s, started_s + self.ttl_s)

    def end(self, reason: str) -> None:
        """It is over; the first reason counts."""
        self.reason = self.reason or reason

    def left_s(self) -> float:
        """How long it may still be believed."""
        return 0.0 if self.reason else max(0.0, self._until_s - self._clock())

    def is_over(self) -> bool:
        """True from the end on, for ever."""
        if not self.reason and self._clock() >= self._until_s:
            self.reason = f"no renewal was answered within the TTL of {self.ttl_s:g}s"
        return bool(self.reason)


def looked_at(
    key: str, index: int | None = None, wait_s: float | None = None, consistency: str | None = None
) -> Call[tuple[KeyValue | None, int]]:
    """One key, None when it is absent, and what the server had seen; with `index` once it has changed after
    that, at most after `wait_s`."""
    plain = kv_calls.get(key, consistency, index, wait_s)

    def read(answer: Answer) -> tuple[KeyValue | None, int]:
        return None if answer.status == 404 else plain.read(answer), _seen(answer)

    return Call(plain.request, read, frozenset((404,)), plain.patience_s)


def below(
    prefix: str, index: int | None = None, wait_s: float | None = None, consistency: str | None = None
) -> Call[tuple[Sequence[KeyValue], int]]:
    """Every key that starts with `prefix`, and what the server had seen; with `index` once something has
    changed after it, at most after `wait_s`."""
    params = (
        ("prefix", prefix),
        *flag("recurse", True),
        *option("index", index),
        *option("wait", None if wait_s is None else f"{max(1, round(wait_s * 1_000))}ms"),
        *option("consistency", consistency),
    )
    request = Request("GET", "/kv/", "GET /kv/", params, repeatable=True, kind="read")

    def read(answer: Answer) -> tuple[Sequence[KeyValue], int]:
        return tuple(kv_calls.row(item) for item in answer.json()), _seen(answer)

    return Call(request, read, patience_s=0.0 if index is None else wait_s or POLL_S)


def _seen(answer: Answer) -> int:
    text = answer.headers.get("x-konsul-index", "")
    return int(text) if text.isdecimal() else 0


@dataclass(frozen=True, slots=True)
class Slots:
    """The state of a semaphore: how many may hold it, and who does; `index` of its key, 0: there is none."""

    limit: int
    holders: tuple[str, ...]
    index: int

    def packed(self) -> str:
        """As the key's value holds it; Consul's clients read it, too."""
        return json.dumps({"Limit": self.limit, "Holders": dict.fromkeys(self.holders, True)})


def slots_of(prefix: str, limit: int, rows: Sequence[KeyValue]) -> Slots:
    """What the keys of a semaphore say; who has lost his session holds nothing.

    Raises:
        Conflict: the keys are something else's, or others count on another limit.
    """
    alive = {one.session for one in rows if one.session and one.key == prefix + one.session}
    state = next((one for one in rows if one.key == f"{prefix}.lock"), None)
    if state is None:
        return Slots(limit, (), 0)
    if state.flags != SEMAPHORE_FLAGS:
        raise Conflict(f"key '{state.key}' is not a semaphore's")
    try:
        document: Mapping[str, Any] = json.loads(state.value)
        agreed, holders = int(document["Limit"]), tuple(document["Holders"])
    except (ValueError, KeyError, TypeError):
        raise Conflict(f"key '{state.key}' does not hold a semaphore's state") from None
    held = tuple(one for one in holders if one in alive)
    if agreed != limit and held:
        raise Conflict(f"semaphore '{prefix}' has the limit {agreed}, not {limit}")
    return Slots(limit, held, state.modify_index)
