"""One write, many watchers: the time from sending the write until the last of them has read it."""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benches.served import Served
from benches.watch.listening import NOTICES, Listener, Told, mixed
from benches.watch.writing import Acked, Writer

SETTLE_S = 2.0
REST_S = 0.2
"""Between two writes: each is measured on an idle node."""


@dataclass(frozen=True)
class Spread:
    """Milliseconds over all writes until the last watcher had it, and until the first and the median one."""

    watchers: int
    writes: int
    last_min: float
    last_median: float
    last_max: float
    first_median: float
    middle_median: float
    answered_median: float
    wrong: int
    """Events that are missing, doubled or nobody's."""

    def __str__(self) -> str:
        return (
            f"{self.watchers} watchers, {self.writes} writes; ms from sending a write until its last watcher "
            f"has it: min {self.last_min:.1f}, median {self.last_median:.1f}, max {self.last_max:.1f} "
            f"(first watcher {self.first_median:.1f}, middle one {self.middle_median:.1f}, "
            f"the write's own answer {self.answered_median:.1f}); wrong events {self.wrong}"
        )


@dataclass(frozen=True)
class Fanout:
    """The spread, and the CPU in ms of one write to all, which stays the same on a shared machine."""

    spread: Spread
    server_ms: float
    listener_ms: float

    def __str__(self) -> str:
        cpu = f"server {self.server_ms:.1f} ms, listener {self.listener_ms:.1f} ms"
        return f"{self.spread}; CPU per write: {cpu}"


async def measure(folder: Path, served: Served, url: str, watchers: int, writes: int) -> Fanout:
    """Opens the watchers, half SSE and half WebSocket, all on one pattern, and writes one key at a time."""
    with Listener(folder, url, mixed(watchers, lambda _: "/kv/watch/fan/**")) as listener:
        await asyncio.sleep(SETTLE_S)
        server_s, listener_s = served.cpu_s(), listener.cpu_s()
        acked = await written(listener, url, watchers, writes, "fan/out")
        server_ms = (served.cpu_s() - server_s) * 1e3 / writes
        listener_ms = (listener.cpu_s() - listener_s) * 1e3 / writes
        return Fanout(spread(acked, listener.told(), range(watchers)), server_ms, listener_ms)


async def written(
    listener: Listener, url: str, watchers: int, writes: int, key: str, already: int = 0
) -> list[Acked]:
    """Writes `key` again and again, each time when all watchers have the one before. `already`: events that
    they were told before."""
    writer = await Writer.to(url)
    acked = []
    for number in range(writes):
        acked.append(await writer.put(key, f"value {number}"))
        await asyncio.to_thread(listener.reached, already + (number + 1) * watchers)
        await asyncio.sleep(REST_S)
    writer.close()
    return acked


def spread(acked: Sequence[Acked], told: Sequence[Told], watchers: Sequence[int]) -> Spread:
    """What came when, of the given watchers; every write must have come to each exactly once."""
    sent = {one.index: one for one in acked}
    arrivals: dict[int, list[float]] = {index: [] for index in sent}
    seen: Counter[tuple[int, int]] = Counter()
    strange = 0
    for one in told:
        if one.watcher not in watchers:
            continue
        if one.index in sent and one.type not in NOTICES:
            arrivals[one.index].append((one.at_ns - sent[one.index].sent_ns) / 1e6)
            seen[one.watcher, one.index] += 1
        else:
            strange += 1
    wrong = strange + sum(abs(seen[who, index] - 1) for who in watchers for index in sent)
    came = [sorted(times) for times in arrivals.values() if times]
    last = [times[-1] for times in came]
    return Spread(
        len(watchers),
        len(acked),
        min(last),
        statistics.median(last),
        max(last),
        statistics.median(times[0] for times in came),
        statistics.median(times[len(times) // 2] for times in came),
        statistics.median((one.answered_ns - one.sent_ns) / 1e6 for one in acked),
        wrong,
    )
