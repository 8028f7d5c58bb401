"""When checks are due: a heap with lazy removal. Pure; seconds of whatever clock the caller has."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Slot(Generic[T]):
    """One entry. `number` tells a slot from an earlier one of the same key."""

    key: bytes
    value: T
    interval_s: float
    phase_s: float
    due_s: float
    number: int


@dataclass(slots=True)
class Schedule(Generic[T]):
    """Every key is due at its phase of each of its intervals."""

    _slots: dict[bytes, Slot[T]] = field(default_factory=dict)
    _heap: list[tuple[float, int, bytes]] = field(default_factory=list)
    _number: int = 0

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, key: bytes) -> bool:
        return key in self._slots

    def get(self, key: bytes) -> T | None:
        """What is scheduled under the key."""
        slot = self._slots.get(key)
        return None if slot is None else slot.value

    def keys(self) -> list[bytes]:
        """All of them."""
        return list(self._slots)

    def add(self, key: bytes, value: T, interval_s: float, phase_s: float, first_s: float) -> None:
        """Schedules the key, in place of what stood there: at `first_s`, then by its phase."""
        self._number += 1
        slot = Slot(key, value, interval_s, phase_s, first_s, self._number)
        self._slots[key] = slot
        heapq.heappush(self._heap, (first_s, slot.number, key))

    def remove(self, key: bytes) -> T | None:
        """Forgets the key; answers what stood there."""
        slot = self._slots.pop(key, None)
        if len(self._heap) > 64 and len(self._heap) > 2 * len(self._slots):
            self._sweep()
        return None if slot is None else slot.value

    def clear(self) -> list[T]:
        """Forgets everything; answers what stood there."""
        gone = [slot.value for slot in self._slots.values()]
        self._slots.clear()
        self._heap.clear()
        return gone

    def next_s(self) -> float | None:
        """When the next is due; None when nothing is scheduled."""
        while self._heap and not self._is_current(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now_s: float) -> list[tuple[float, T]]:
        """Takes what is due, with when it was, and schedules each for the next moment of its phase."""
        found: list[tuple[float, T]] = []
        while self._heap and self._heap[0][0] <= now_s:
            item = heapq.heappop(self._heap)
            if not self._is_current(item):
                continue
            slot = self._slots[item[2]]
            found.append((slot.due_s, slot.value))
            slot.due_s = self._following(slot, now_s)
            heapq.heappush(self._heap, (slot.due_s, slot.number, slot.key))
        return found

    def _following(self, slot: Slot[T], now_s: float) -> float:
        """The first moment of the phase that leaves at least half an interval: a first run may be out of it.

        From `now_s`, so that a process that slept runs each check once and not once per missed interval.
        """
        after = max(slot.due_s, now_s - slot.interval_s) + slot.interval_s / 2
        rounds = math.floor((after - slot.phase_s) / slot.interval_s) + 1
        found = slot.phase_s + rounds * slot.interval_s
        return found if found > now_s else found + slot.interval_s

    def _is_current(self, item: tuple[float, int, bytes]) -> bool:
        slot = self._slots.get(item[2])
        return slot is not None and slot.number == item[1] and slot.due_s == item[0]

    def _sweep(self) -> None:
        self._heap = [(slot.due_s, slot.number, slot.key) for slot in self._slots.values()]
        heapq.heapify(self._heap)
