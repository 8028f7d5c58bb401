"""One run of a cluster under faults: clients, nemesis, healing, and the judgement of what the clients saw."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.clients import Client, Key, Keyring
from tests.chaos.history import History, judge, judge_program
from tests.chaos.nemesis import Nemesis
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.wall_clocks import WallClock

CLIENTS = 10
HEALED_S = 120.0
READ_TRIES_MAX = 40
REPORT_EVERY_S = 30.0
SETTINGS = {
    # Small enough that snapshots, compaction and snapshot installs fall among the faults.
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
    index: int
    problems: list[str]

    def __str__(self) -> str:
        verdict = "\n".join(["PROMISES BROKEN", *self.problems]) if self.problems else "every promise kept"
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        counts = ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))
        return (
            f"seed {self.seed}, {self.seconds:.0f} s: {self.faults.total()} faults ({faults})\n"
            f"{self.counts.total()} operations ({counts}); all nodes alike at index {self.index}: {verdict}"
        )


def run(
    folder: Path,
    seconds: float,
    seed: int,
    *,
    size: int = 3,
    clients: int = CLIENTS,
    progress: Callable[[str], None] | None = None,
) -> Outcome:
    """Faults among clients for `seconds`, then healing and judgement. The history stays in `folder`.

    The seed decides what is drawn, the machine decides the rest: a seed repeats a run closely, not exactly.
    """
    program = judge_program()
    cluster = Cluster(folder / "cluster", size, settings=SETTINGS)
    clocks = {name: WallClock(folder, name) for name in cluster.nodes} if shutil.which("cc") else {}
    for name, clock in clocks.items():
        cluster.nodes[name].settings |= clock.settings
    history = History(folder / "history.jsonl")
    problems: list[str] = []
    with cluster:
        made = _Run(cluster, history, problems, seed, clients)
        nemesis = Nemesis(cluster, random.Random(seed), problems, clocks)
        try:
            asyncio.run(made.suffer(nemesis, seconds, progress or (lambda _: None)))
            index = made.heal_and_read()
        except AssertionError as error:
            problems.append(str(error))
            index = 0
        history.close()
        if problems:
            problems.append(cluster.logs())
    verdict = judge(program, history.path)
    if verdict is not None:
        problems.insert(0, verdict)
    counts = Counter({f"{kind} {outcome}": count for (kind, outcome), count in history.counts.items()})
    return Outcome(seed, seconds, nemesis.done, counts, index, problems)


@dataclass
class _Run:
    cluster: Cluster
    history: History
    problems: list[str]
    seed: int
    clients: int

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed + 1)
        self._keyring = Keyring(f"chaos/{self.seed}")

    def _client(self, name: str) -> Client:
        ports = [node.port for node in self.cluster.nodes.values()]
        rng = random.Random(self._rng.getrandbits(64))
        return Client(name, ports, self._keyring, self.history, rng, self.problems)

    async def suffer(self, nemesis: Nemesis, seconds: float, progress: Callable[[str], None]) -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        tasks = [asyncio.create_task(self._client(f"c{n}").work(ended)) for n in range(self.clients)]
        tasks.append(asyncio.create_task(nemesis.work(ended)))
        try:
            while loop.time() < end and not self.problems:
                wait_s = min(REPORT_EVERY_S, end - loop.time())
                done, _ = await asyncio.wait(tasks, timeout=wait_s, return_when=asyncio.FIRST_EXCEPTION)
                for task in done:
                    task.result()
                counts = self.history
                progress(
                    f"{nemesis.done.total()} faults, {counts.outcomes('ok')} operations done, "
                    f"{counts.outcomes('fail')} refused, {counts.outcomes('unknown')} open"
                )
        finally:
            ended.set()
            await asyncio.gather(*tasks)

    def heal_and_read(self) -> int:
        """All well again, every key read from somewhere; the index at which all nodes are alike."""
        self.cluster.until_ready(deadline_s=HEALED_S)
        self.cluster.until_members(*self.cluster.nodes, deadline_s=HEALED_S)
        asyncio.run(self._read_all())
        index, _ = self.cluster.until_alike(deadline_s=HEALED_S)
        return index

    async def _read_all(self) -> None:
        reader = self._client("last")
        try:
            for name in self._keyring.names:
                for _ in range(READ_TRIES_MAX):
                    if await reader.read(Key(name), "linearizable"):
                        break
                else:
                    self.problems.append(f"{name} cannot be read after the healing")
                    return
        finally:
            await reader.close()
