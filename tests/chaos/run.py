"""One run: writers, SIGKILL, restart on the same data, comparison; as often as asked."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.record import Record
from tests.chaos.wire import Wire
from tests.chaos.writers import COUNTER, write_until_lost
from tests.process import Server

WRITERS = 8
LIFE_S = (0.02, 0.6)
KILLED_WHILE_STARTING = 0.15
"""The share of kills that hit the server before it is ready."""
STARTING_S = (0.0, 1.0)
SETTINGS = {
    # Small enough that snapshots, compaction and fresh segments fall among the kills.
    "KONSUL_RAFT_SNAPSHOT_THRESHOLD": "200",
    "KONSUL_RAFT_SNAPSHOT_INTERVAL": "100ms",
    "KONSUL_RAFT_TRAILING_LOGS": "50",
    "KONSUL_RAFT_SEGMENT_BYTES": "256KiB",
    "KONSUL_ACCESS_LOG": "errors",
}


@dataclass(frozen=True)
class Outcome:
    """What a run found. `problems` is empty when every promise was kept."""

    seed: int
    kills: int
    acknowledged: int
    unknown: int
    highest_index: int
    problems: list[str]

    def __str__(self) -> str:
        verdict = "\n".join(["PROMISES BROKEN", *self.problems]) if self.problems else "every promise kept"
        return (
            f"seed {self.seed}: {self.kills} kills, {self.acknowledged} writes acknowledged, "
            f"{self.unknown} open at a kill, highest index {self.highest_index}: {verdict}"
        )


def run(folder: Path, kills: int, seed: int, progress: Callable[[int, int], None] | None = None) -> Outcome:
    """Kills the server `kills` times. The seed decides writes and moments, the machine decides the rest.

    `progress` is told the number of kills and of acknowledged writes after each kill.
    """
    rng = random.Random(seed)
    record = Record()
    server = Server(folder / "data", SETTINGS)
    done = 0
    try:
        while done < kills and not record.problems:
            if rng.random() < KILLED_WHILE_STARTING:
                asyncio.run(_kill_while_starting(server, rng))
            else:
                asyncio.run(_kill_among_writers(server, record, rng))
            done += 1
            if progress is not None:
                progress(done, record.acknowledged)
        asyncio.run(_start_and_compare(server, record))
        record.problems.extend([] if server.stop() == 0 else ["the graceful stop at the end failed"])
    finally:
        server.kill()
    return Outcome(seed, done, record.acknowledged, record.unknown, record.floor, record.problems)


async def _kill_while_starting(server: Server, rng: random.Random) -> None:
    server.launch()
    moment = asyncio.Event()
    asyncio.get_running_loop().call_later(rng.uniform(*STARTING_S), moment.set)
    await moment.wait()
    server.kill()


async def _kill_among_writers(server: Server, record: Record, rng: random.Random) -> None:
    await _start_and_compare(server, record)
    seeds = [rng.getrandbits(32) for _ in range(WRITERS)]
    writers = [
        asyncio.create_task(write_until_lost(server.port, record, random.Random(seed), number))
        for number, seed in enumerate(seeds)
    ]
    await asyncio.wait(writers, timeout=rng.uniform(*LIFE_S))
    server.kill()
    await asyncio.gather(*writers)


async def _start_and_compare(server: Server, record: Record) -> None:
    server.start()
    wire = Wire(server.port)
    try:
        stored = {}
        status, names = await wire.ask("GET", "/kv/?prefix=chaos/&limit=1000")
        if status != 200:
            record.problems.append(f"the keys cannot be listed: {status} {names}")
            return
        for name in names:
            status, row = await wire.ask("GET", f"/kv/{name}?metadata=true")
            if status == 200:
                stored[name] = (str(row["value"]), int(row["modify_index"]))
        record.compare(stored)
        record.compare_counter(int(stored.get(COUNTER, ("0", 0))[0]))
    finally:
        await wire.close()
