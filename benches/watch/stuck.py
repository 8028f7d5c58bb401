"""Readers that never read, among a thousand who do: what the others notice, what the server keeps, what they
are told in the end."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benches.served import Served
from benches.watch.fanout import Spread, spread, written
from benches.watch.listening import Listener, Told, mixed
from benches.watch.writing import Writer

STUCK = ("stuck-sse", "stuck-ws", "stuck-sse", "stuck-ws")
FLOOD = 400
AGAIN = "again"
VALUE_BYTES = 32_768
"""Together less than the change ring holds, and far more than sockets and queues do."""
ENDED_MAX_S = 30.0


@dataclass(frozen=True)
class Stuck:
    """`alone`: the others without stuck readers; `beside`: while those are flooded."""

    alone: Spread
    beside: Spread
    before_mb: float
    most_mb: float
    ended: list[str]
    """How each stuck one's connection ended that was left alone: the last thing it was told."""
    resumed: list[str]
    """What became of each stuck one that began to read again in time."""
    wrong: int

    def __str__(self) -> str:
        return (
            f"others alone: {self.alone}\nothers beside {len(STUCK)} stuck readers under a flood of "
            f"{FLOOD * VALUE_BYTES >> 20} MiB: {self.beside}\nserver memory before {self.before_mb:.0f} MB, "
            f"at most {self.most_mb:.0f} MB\nleft alone: {'; '.join(self.ended)}\n"
            f"reading again: {'; '.join(self.resumed)}"
        )


async def measure(folder: Path, served: Served, url: str, watchers: int, writes: int) -> Stuck:
    """Three rounds on one server, whose KONSUL_WATCH_WRITE_TIMEOUT should be a few seconds."""
    calm = mixed(watchers, lambda _: "/kv/watch/calm/**")
    with Listener(folder, url, calm) as listener:
        acked = await written(listener, url, watchers, writes, "calm/key")
        alone = spread(acked, listener.told(), range(watchers))
    before_mb = served.rss_mb()
    plan = [*calm, *(f"{kind} /kv/watch/**" for kind in STUCK)]
    with Listener(folder, url, plan) as listener:
        flooding = asyncio.create_task(flood(url, served, "first"))
        acked = await written(listener, url, watchers, writes, "calm/key")
        most_mb = await flooding
        await left_alone(url, watchers)
        listener.unstick()
        told = await told_when(listener, range(watchers, watchers + len(STUCK)), is_ended)
        beside = spread(acked, told, range(watchers))
        ended = [end_of(told, watchers + number) for number in range(len(STUCK))]
    with Listener(folder, url, [f"{kind} /kv/watch/{AGAIN}/**" for kind in STUCK]) as listener:
        most_mb = max(most_mb, await flood(url, served, AGAIN))
        listener.unstick()
        told = await told_when(listener, range(len(STUCK)), is_settled)
    outcomes = [resumed(told, number) for number in range(len(STUCK))]
    wrong = sum("LOST" in one or "LEFT OPEN" in one for one in (*ended, *outcomes))
    return Stuck(alone, beside, before_mb, most_mb, ended, outcomes, alone.wrong + beside.wrong + wrong)


async def flood(url: str, served: Served, prefix: str) -> float:
    """Many large values, each of a key of its own: the ring holds old values too. Returns the most memory the
    server had meanwhile, in MB."""
    writer, most_mb = await Writer.to(url), served.rss_mb()
    for number in range(FLOOD):
        await writer.put(f"{prefix}/{number:04}", "f" * VALUE_BYTES)
        most_mb = max(most_mb, served.rss_mb())
    writer.close()
    return most_mb


async def left_alone(url: str, watchers: int) -> None:
    """Waits until the server has let go of the stuck ones."""
    end = time.monotonic() + ENDED_MAX_S
    while (found := await asyncio.to_thread(active, url)) > watchers:
        if time.monotonic() > end:
            raise RuntimeError(f"{found:.0f} watchers after {ENDED_MAX_S} s: a stuck reader is still kept")
        await asyncio.sleep(0.2)


def active(url: str) -> float:
    """How many watchers the server has besides its own, by its own count."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as reply:  # noqa: S310 - our own address
        lines = reply.read().decode().splitlines()
    told = [line for line in lines if line.startswith("konsul_watchers_active{") and '"inside"' not in line]
    return sum(float(line.split()[-1]) for line in told)


async def told_when(listener: Listener, watchers: Sequence[int], holds: Callable[[Told], bool]) -> list[Told]:
    """Waits until each of the watchers was told something for which that holds, or ENDED_MAX_S."""
    end = time.monotonic() + ENDED_MAX_S
    while True:
        told = await asyncio.to_thread(listener.told)
        done = {one.watcher for one in told if one.watcher in watchers and holds(one)}
        if len(done) == len(watchers) or time.monotonic() > end:
            return told
        await asyncio.sleep(0.2)


def is_ended(one: Told) -> bool:
    """Whether the connection is closed."""
    return one.type == "eof"


def is_settled(one: Told) -> bool:
    """Whether it has the flood's last key, was told that it is not all, or its connection is closed."""
    return one.type in ("eof", "compacted") or one.key == f"{AGAIN}/{FLOOD - 1:04}"


def of(told: Iterable[Told], watcher: int) -> list[Told]:
    """What one watcher was told."""
    return [one for one in told if one.watcher == watcher]


def end_of(told: Iterable[Told], watcher: int) -> str:
    """How a stuck watcher's connection ended, with the reason it was given."""
    kind = STUCK[watcher % len(STUCK)].removeprefix("stuck-")
    got = of(told, watcher)
    words = [f"{one.type} {one.index or ''} {one.key}".strip() for one in got[-3:] if one.type != "set"]
    verdict = ", ".join(words) if any(map(is_ended, got)) else "LEFT OPEN"
    return f"{kind} after {sum(one.type == 'set' for one in got)} events: {verdict}"


def resumed(told: Iterable[Told], watcher: int) -> str:
    """Whether a watcher that read again has everything of the flood, in order."""
    got = of(told, watcher)
    keys = [one.key for one in got if one.type == "set"]
    notices = [one.type for one in got if one.type != "set"]
    whole = keys == [f"{AGAIN}/{number:04}" for number in range(FLOOD)]
    said = "compacted" in notices or "close" in notices
    verdict = "all in order" if whole else "said that it is not all" if said else "LOST without a word"
    return f"{STUCK[watcher].removeprefix('stuck-')} {len(keys)} of {FLOOD} ({', '.join(notices)}): {verdict}"
