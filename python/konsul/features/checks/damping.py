"""From single results to a status: thresholds first, then a hold on what flaps. Pure; the clock is passed in.

Thresholds follow Consul: consecutive successes before passing, consecutive failures before warning and before
critical. Flapping: more than `changes_max` changes within the window, and the worst status of the window is
held until nothing has changed for half of it. A route that goes up and down is suppressed for the same reason
in RFC 2439: each change costs everybody who listens.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from konsul.features.catalog.healths import worst
from konsul.features.catalog.tables import CRITICAL, PASSING, WARNING


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Consecutive results that are needed for a change; 1: the first does. `before_warning` 0: never."""

    successes: int = 1
    before_critical: int = 1
    before_warning: int = 0


@dataclass(slots=True)
class Damper:
    """One check's. `status` is what was decided last."""

    thresholds: Thresholds
    status: str
    window_s: float
    changes_max: int
    is_flapping: bool = False
    _successes: int = 0
    _failures: int = 0
    _raw: str = ""
    _changes: deque[tuple[float, str]] | None = None

    def take(self, status: str, now_s: float) -> str:
        """The status after a result of `status`."""
        decided = self._threshold(status)
        if not self._raw:
            # The first word after a take-over or a start: no change that anybody has seen.
            self._raw = decided
        if self.changes_max == 0:
            self._raw = self.status = decided
            return decided
        if self._changes is None:
            self._changes = deque(maxlen=self.changes_max + 1)
        if decided != self._raw:
            self._changes.append((now_s, worst([decided, self._raw])))
            self._raw = decided
        self.status = self._held(decided, now_s)
        return self.status

    def _threshold(self, status: str) -> str:
        """Consul counts a warning among the successes: the target answered."""
        if status in (PASSING, WARNING):
            self._successes, self._failures = self._successes + 1, 0
            reached = self._successes >= self.thresholds.successes
            return status if reached else self._raw or self.status
        self._failures, self._successes = self._failures + 1, 0
        if self._failures >= self.thresholds.before_critical:
            return CRITICAL
        if self.thresholds.before_warning and self._failures >= self.thresholds.before_warning:
            return WARNING
        return self._raw or self.status

    def _held(self, decided: str, now_s: float) -> str:
        changes = self._changes
        if not changes:
            return decided
        if self.is_flapping and now_s - changes[-1][0] >= self.window_s / 2:
            self.is_flapping = False
            changes.clear()
            return decided
        many = len(changes) > self.changes_max
        if many and now_s - changes[0][0] <= self.window_s:
            self.is_flapping = True
        return worst([decided, *(seen for _, seen in changes)]) if self.is_flapping else decided
