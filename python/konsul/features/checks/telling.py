"""How often what TTL checks are told may enter the log when only its words are new."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

from konsul.engine import Engine

AT_ONCE: Final = 3
"""Changed outputs of one check that are written without a pause: who tells by hand is not held back."""
CHECKS_MAX: Final = 10_000
"""Checks whose last changes are remembered; beyond, the one that changed longest ago is forgotten."""


class Words:
    """The changed outputs of this node's TTL checks. A bucket of `AT_ONCE` each, by GCRA (ITU-T I.371)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._full_s: dict[str, float] = {}
        """When each bucket will be full again; the last to change is last."""

    def __len__(self) -> int:
        return len(self._full_s)

    def may(self, check_id: str, pause_s: float) -> bool:
        """Whether another output of this check may be written now; if so it counts. `pause_s`: in the long
        run, from one to the next."""
        now_s = self._clock()
        full_s = max(now_s, self._full_s.get(check_id, now_s)) + pause_s
        if full_s - now_s > AT_ONCE * pause_s:
            return False
        self._full_s.pop(check_id, None)
        self._full_s[check_id] = full_s
        if len(self._full_s) > CHECKS_MAX:
            del self._full_s[next(iter(self._full_s))]
        return True


_WORDS: Final[WeakKeyDictionary[Engine, Words]] = WeakKeyDictionary()


def words_of(engine: Engine) -> Words:
    """Those of a node of this process."""
    found = _WORDS.get(engine)
    if found is None:
        found = _WORDS[engine] = Words()
    return found
