"""What a node was told of instances: connections and latencies; and whom it sent there since. All bounded."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from konsul.features.lb.latency import averaged

if TYPE_CHECKING:
    from konsul.engine import Engine

CHECKS: Final = "checks"
"""The reporter of latencies that health checks measured."""
NEWS_FACTOR: Final = 1.2
NEWS_PART: Final = 3
REPORTERS_MAX: Final = 1_000
"""Clients whose connections to one instance are told apart; one more takes the place of the one silent
longest."""
ASSIGNED_MAX: Final = 50_000
"""Instances whose selections are counted without a report of them."""


@dataclass(frozen=True, slots=True)
class Report:
    """One client's word on one instance. `key`: of the instance's row. What is None was not said.

    `age_s`: how old it was when it came here.
    """

    key: bytes
    client: str
    connections: int | None = None
    latency_ms: float | None = None
    age_s: float = 0.0


@dataclass(slots=True)
class _Load:
    clients: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Connections and when they were reported, by client, the longest silent first."""
    connections: int = 0
    assigned: int = 0
    assigned_at: float = 0.0
    latency_ms: float = 0.0
    latency_at: float | None = None
    check_ms: float = 0.0
    check_at: float | None = None
    told_ms: float = 0.0
    told_at: float | None = None
    """Of the checks' latency what the other nodes were told last."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one instance now. `age_s`: since its last report."""

    key: bytes
    connections: int
    clients: int
    assigned: int
    latency_ms: float | None
    age_s: float | None


class Loads:
    """Reports by instance; each ends `ttl_s` after it was made. At most `most`, the oldest go first."""

    def __init__(
        self,
        *,
        ttl_s: float = 30.0,
        latency_ttl_s: float = 60.0,
        decay_s: float = 10.0,
        most: int = 100_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ttl_s, self._latency_ttl_s, self._decay_s = ttl_s, latency_ttl_s, decay_s
        self._most = most
        self._clock = clock
        self._loads: OrderedDict[bytes, _Load] = OrderedDict()
        """By instance, the one without a report for longest first."""
        self._size = 0
        self.forgotten = 0
        """Reports that went before their time, because there were too many."""

    def __len__(self) -> int:
        """How many reports are held, those included that are over and were not looked at since."""
        return self._size

    def take(self, report: Report) -> None:
        """Notes a report in place of the client's last one."""
        at = self._clock() - report.age_s
        load = self._load(report.key)
        self._loads.move_to_end(report.key)
        if report.connections is not None:
            self._drop(load, report.client)
            load.clients[report.client] = (report.connections, at)
            load.connections += report.connections
            self._size += 1
            # Whoever was sent there since is among them by now.
            load.assigned = 0
            if len(load.clients) > REPORTERS_MAX:
                self._drop(load, next(iter(load.clients)))
                self.forgotten += 1
        if report.latency_ms is not None:
            self._measure(load, report, at)
        while self._size > self._most and len(self._loads) > 1:
            self.forgotten += self._forget_oldest()

    def assign(self, key: bytes) -> None:
        """A client was sent to the instance: until the next report of it, that is one connection more.

        Without it every client between two reports would be sent to the same one.
        """
        load, now = self._load(key), self._clock()
        if load.assigned == 0 or now - load.assigned_at > self._ttl_s:
            load.assigned, load.assigned_at = 0, now
        load.assigned += 1

    def active(self, key: bytes) -> int:
        """The connections an instance has: reported ones that still count, and clients sent there since."""
        load = self._loads.get(key)
        if load is None:
            return 0
        now = self._clock()
        self._expire(load, now)
        if load.assigned and now - load.assigned_at > self._ttl_s:
            load.assigned = 0
        return load.connections + load.assigned

    def active_of(self, keys: Sequence[bytes]) -> list[int]:
        """As `active`, of many."""
        loads = self._loads
        return [self.active(key) if key in loads else 0 for key in keys]

    def latency_ms(self, key: bytes) -> float | None:
        """What answers of the instance took lately: as clients reported, else as health checks measured."""
        load = self._loads.get(key)
        if load is None:
            return None
        since = self._clock() - self._latency_ttl_s
        if load.latency_at is not None and load.latency_at >= since:
            return load.latency_ms
        return load.check_ms if load.check_at is not None and load.check_at >= since else None

    def is_news(self, key: bytes) -> bool:
        """Whether the other nodes should hear what checks measure of the instance; yes means that they do.

        Thousands of checks say the same every few seconds: only what differs by a fifth, or would soon be
        forgotten elsewhere, is worth a message.
        """
        load = self._loads.get(key)
        if load is None or load.check_at is None:
            return False
        if load.told_at is not None and load.check_at - load.told_at < self._latency_ttl_s / NEWS_PART:
            low, high = sorted((load.check_ms, load.told_ms))
            if high <= low * NEWS_FACTOR:
                return False
        load.told_ms, load.told_at = load.check_ms, load.check_at
        return True

    def has_latencies(self) -> bool:
        """False while nobody ever reported anything: then nothing need be looked up."""
        return bool(self._loads)

    def known(self, key: bytes) -> Known:
        """All that is known of one instance."""
        active, load = self.active(key), self._loads.get(key)
        if load is None:
            return Known(key, 0, 0, 0, None, None)
        times = [at for _, at in load.clients.values()]
        times += [at for at in (load.latency_at, load.check_at) if at is not None]
        age_s = max(0.0, self._clock() - max(times)) if times else None
        reported = active - load.assigned
        return Known(key, reported, len(load.clients), load.assigned, self.latency_ms(key), age_s)

    def reported(self) -> Iterator[tuple[bytes, int]]:
        """Every instance with reported connections that still count."""
        now = self._clock()
        for key, load in self._loads.items():
            self._expire(load, now)
            if load.clients:
                yield key, load.connections

    def forget(self, key: bytes) -> None:
        """The instance has gone."""
        load = self._loads.pop(key, None)
        if load is not None:
            self._size -= len(load.clients)

    def _load(self, key: bytes) -> _Load:
        load = self._loads.get(key)
        if load is None:
            load = self._loads[key] = _Load()
            if len(self._loads) > max(ASSIGNED_MAX, self._most):
                self.forgotten += self._forget_oldest()
        return load

    def _forget_oldest(self) -> int:
        _, load = self._loads.popitem(last=False)
        self._size -= len(load.clients)
        return len(load.clients)

    def _measure(self, load: _Load, report: Report, at: float) -> None:
        measured = report.latency_ms or 0.0
        by_check = report.client == CHECKS
        last = load.check_at if by_check else load.latency_at
        if last is not None and at - last <= self._latency_ttl_s:
            before = load.check_ms if by_check else load.latency_ms
            measured = averaged(before, measured, at - last, self._decay_s)
            at = max(at, last)
        if by_check:
            load.check_ms, load.check_at = measured, at
        else:
            load.latency_ms, load.latency_at = measured, at

    def _expire(self, load: _Load, now: float) -> None:
        while load.clients:
            client, (_, at) = next(iter(load.clients.items()))
            if now - at <= self._ttl_s:
                return
            self._drop(load, client)

    def _drop(self, load: _Load, client: str) -> None:
        found = load.clients.pop(client, None)
        if found is not None:
            load.connections -= found[0]
            self._size -= 1


_OF: WeakKeyDictionary[Engine, Loads] = WeakKeyDictionary()


def loads_of(engine: Engine) -> Loads:
    """What the node was told; goes with the node's engine."""
    loads = _OF.get(engine)
    if loads is None:
        loads = _OF[engine] = Loads()
    return loads


def set_loads(engine: Engine, loads: Loads) -> None:
    """Makes them the node's."""
    _OF[engine] = loads
