"""One run of locks under faults: contenders of whom some die, a nemesis, healing, and the judgement."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from konsul.client import AsyncClient, Operation, Settings
from konsul.client.locking import wait_s, wishes
from konsul.client.locks_aio import AsyncHeld, AsyncLock
from konsul.errors import Conflict, KonsulError
from tests.chaos.history import now_us
from tests.chaos.lock_history import Belief, Guarded, LockHistory, judge
from tests.chaos.nemesis import Nemesis
from tests.cluster.harness.cluster import Cluster
from tests.waiting import pace

TTL = "2s"
KEYS = ("locks/a", "locks/b")
HEALED_S = 120.0
WORK_S = (0.0, 0.15)
HOLDS_MAX_S = 3.0
DIES = 0.2
ZOMBIE_WRITES = 3
REPORT_EVERY_S = 30.0
SETTINGS = {
    "KONSUL_SESSION_TTL_MIN": "500ms",
    "KONSUL_RAFT_SNAPSHOT_THRESHOLD": "500",
    "KONSUL_RAFT_SNAPSHOT_INTERVAL": "500ms",
    "KONSUL_RAFT_TRAILING_LOGS": "200",
    "KONSUL_RAFT_SEGMENT_BYTES": "256KiB",
}


@dataclass(frozen=True)
class Outcome:
    """What a run found. `problems` is empty when every promise was kept."""

    seed: int
    seconds: float
    faults: Counter[str]
    counts: Counter[str]
    problems: list[str]

    def __str__(self) -> str:
        verdict = "\n".join(["PROMISES BROKEN", *self.problems]) if self.problems else "every promise kept"
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        counts = ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))
        return f"locks, seed {self.seed}, {self.seconds:.0f} s: faults ({faults})\n{counts}: {verdict}"


class Contender:
    """Takes locks with the client's own recipe, for what is tested is what its users believe. Sometimes it
    dies holding one, sometimes it goes on writing after it was told that it lost."""

    def __init__(self, name: str, addresses: str, history: LockHistory, rng: random.Random) -> None:
        self.name = name
        self._settings = Settings(addresses)
        self._history, self._rng = history, rng

    async def work(self, ended: asyncio.Event) -> None:
        """Until `ended`."""
        async with AsyncClient(self._settings) as client:
            while not ended.is_set():
                key = self._rng.choice(KEYS)
                lock = AsyncLock(
                    self._settings,
                    key,
                    # Without a delay nothing but leases keeps holders apart.
                    wishes(TTL, self.name, lock_delay=self._rng.choice(("0s", "0s", "500ms"))),
                    wait_s("2s"),
                )
                try:
                    held = await lock.acquire()
                except KonsulError as error:
                    self._history.counts[f"not held: {type(error).__name__}"] += 1
                    await pace(0.05)
                    continue
                try:
                    await self._hold(client, key, held, ended)
                finally:
                    await self._leave(lock)

    async def _hold(self, client: AsyncClient, key: str, held: AsyncHeld, ended: asyncio.Event) -> None:
        first = last = 0
        until_us = now_us() + int(self._rng.uniform(0, HOLDS_MAX_S) * 1e6)
        while True:
            at = now_us()
            if held.lost.is_set():
                break
            first, last = first or at, at
            if at > until_us or ended.is_set():
                break
            await self._write(client, key, held)
            await pace(self._rng.uniform(*WORK_S))
        if first:
            self._history.believed(Belief(self.name, key, held.session, held.lock_index, first, last))
        if held.lost.is_set():
            self._history.counts["lost"] += 1
            for _ in range(ZOMBIE_WRITES):
                await self._write(client, key, held)

    async def _write(self, client: AsyncClient, key: str, held: AsyncHeld) -> None:
        guard = Operation("check-session", key, session=held.session)
        write = Operation("set", f"{key}-work", f"{held.lock_index}".encode())
        try:
            async with asyncio.timeout(2.0):
                done = await client.transaction([guard, write])
        except (KonsulError, TimeoutError) as error:
            self._history.counts[f"not written: {type(error).__name__}"] += 1
            return
        self._history.wrote(Guarded(self.name, key, held.lock_index, done.modify_index))

    async def _leave(self, lock: AsyncLock) -> None:
        if self._rng.random() < DIES:
            self._history.counts["died"] += 1
            await lock.abandon()
        else:
            await lock.release()


def run(
    folder: Path,
    seconds: float,
    seed: int,
    *,
    size: int = 3,
    contenders: int = 8,
    progress: Callable[[str], None] | None = None,
) -> Outcome:
    """Faults among contenders for `seconds`, then healing and judgement. The history stays in `folder`."""
    cluster = Cluster(folder / "cluster", size, settings=SETTINGS)
    history = LockHistory(folder / "locks.jsonl")
    problems: list[str] = []
    with cluster:
        nemesis = Nemesis(cluster, random.Random(seed), problems)
        try:
            asyncio.run(_suffer(cluster, history, nemesis, seconds, seed, contenders, progress))
            cluster.until_ready(deadline_s=HEALED_S)
            asyncio.run(_all_free(_addresses(cluster, random.Random(seed)), problems))
            cluster.until_alike(deadline_s=HEALED_S)
        except AssertionError as error:
            problems.append(str(error))
        history.close()
        problems[:0] = judge(history.beliefs, history.writes)
        if problems:
            problems.append(cluster.logs())
    return Outcome(seed, seconds, nemesis.done, history.counts, problems)


def _addresses(cluster: Cluster, rng: random.Random) -> str:
    found = [node.base_url for node in cluster.nodes.values()]
    rng.shuffle(found)
    return ",".join(found)


async def _suffer(
    cluster: Cluster,
    history: LockHistory,
    nemesis: Nemesis,
    seconds: float,
    seed: int,
    contenders: int,
    progress: Callable[[str], None] | None,
) -> None:
    ended = asyncio.Event()
    rng = random.Random(seed + 1)
    made = [
        Contender(f"c{number}", _addresses(cluster, rng), history, random.Random(rng.getrandbits(64)))
        for number in range(contenders)
    ]
    tasks = [asyncio.create_task(one.work(ended)) for one in made]
    tasks.append(asyncio.create_task(nemesis.work(ended)))
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    try:
        while loop.time() < end:
            most_s = min(REPORT_EVERY_S, end - loop.time())
            done, _ = await asyncio.wait(tasks, timeout=most_s, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
            if progress is not None:
                counts = history.counts
                progress(f"{nemesis.done.total()} faults, {counts['held']} locks held, {counts['lost']} lost")
    finally:
        ended.set()
        await asyncio.gather(*tasks)


async def _all_free(addresses: str, problems: list[str]) -> None:
    """Whoever died has lost what he held: every lock can be had."""
    async with AsyncClient(addresses) as client:
        for key in KEYS:
            try:
                async with client.lock(key, ttl=TTL, wait="60s") as held:
                    with suppress(Conflict):
                        held.check()
            except KonsulError as error:
                problems.append(f"{key} cannot be locked after the healing: {error!r}")
