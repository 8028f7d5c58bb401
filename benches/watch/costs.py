"""What watchers cost that have nothing to see: CPU of a write beside them, memory of each."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benches import wrk
from benches.served import Served
from benches.watch.listening import Listener, mixed

PUTS = Path(__file__).parent.parent / "doors" / "put.lua"
REST_S = 1.0
REST_SHARE = 0.05
REST_MAX_S = 120.0


@dataclass(frozen=True)
class Cpu:
    """Server CPU in us per PUT, medians over the rounds; `ratio` is the median of the rounds' ratios."""

    watchers: int
    rounds: int
    without_us: float
    with_us: float
    ratio: float
    bad: int

    def __str__(self) -> str:
        return (
            f"server CPU per PUT without watchers {self.without_us:.1f} us, beside {self.watchers} that do "
            f"not match {self.with_us:.1f} us: {(self.ratio - 1) * 100:+.1f} % (median of {self.rounds} "
            f"alternating rounds); failed requests {self.bad}"
        )


@dataclass(frozen=True)
class Memory:
    """Resident memory one idle watcher adds, in KB of 1,024 bytes."""

    kind: str
    watchers: int
    before_mb: float
    after_mb: float

    @property
    def each_kb(self) -> float:
        return (self.after_mb - self.before_mb) * 1_024 / self.watchers

    def __str__(self) -> str:
        return (
            f"{self.watchers} idle {self.kind} watchers: {self.each_kb:.1f} KB each "
            f"({self.before_mb:.0f} MB before, {self.after_mb:.0f} MB with them)"
        )


def cpu(folder: Path, served: Served, url: str, watchers: int, rounds: int, seconds: int) -> Cpu:
    """wrk writes `bench/...`, without watchers and beside those of `other/...`, in turn."""
    wrk.run(url, PUTS, seconds=seconds)
    alone, beside, bad = [], [], 0
    for _ in range(rounds):
        us, failed = per_put(served, url, seconds)
        alone.append(us)
        with Listener(folder, url, mixed(watchers, lambda number: f"/kv/watch/other/{number}/**")):
            at_rest(served)
            us, more_failed = per_put(served, url, seconds)
        beside.append(us)
        bad += failed + more_failed
        at_rest(served)
    ratios = [after / before for before, after in zip(alone, beside, strict=True)]
    median = statistics.median
    return Cpu(watchers, rounds, median(alone), median(beside), median(ratios), bad)


def at_rest(served: Served) -> None:
    """Waits until the server does next to nothing: what opening or closing thousands of connections costs is
    neither a write's nor a watcher's."""
    end = time.monotonic() + REST_MAX_S
    busy_s = served.cpu_s()
    while time.monotonic() < end:
        time.sleep(REST_S)
        before_s, busy_s = busy_s, served.cpu_s()
        if busy_s - before_s < REST_S * REST_SHARE:
            return
    raise RuntimeError(f"the server is still busy {REST_MAX_S} s after its watchers came or went")


def per_put(served: Served, url: str, seconds: int) -> tuple[float, int]:
    """The server's CPU in us per PUT, and how many requests failed."""
    before_s = served.cpu_s()
    load = wrk.run(url, PUTS, seconds=seconds)
    return (served.cpu_s() - before_s) * 1e6 / max(1, load.requests), load.bad


def memory(
    folder: Path, served: Served, url: str, watchers: int, kind: str, warm: Callable[[], None]
) -> Memory:
    """On a server that has seen a few watchers come and go, so that what all of them share is there."""
    with Listener(folder, url, [f"{kind} /kv/watch/warm/**"] * 100):
        warm()
    at_rest(served)
    before_mb = served.rss_mb()
    with Listener(folder, url, [f"{kind} /kv/watch/idle/{number}/**" for number in range(watchers)]):
        at_rest(served)
        return Memory(kind, watchers, before_mb, served.rss_mb())
