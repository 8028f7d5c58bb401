"""A fresh node joins three that hold a gigabyte, under load. `make join-1gb` runs it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benches import release
from benches.cluster import steady
from benches.cluster.shipped import at, cluster
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.node import Node
from tests.waiting import until

MIB = 1 << 20
JOIN_MB = int(os.environ.get("KONSUL_BENCH_JOIN_MB", "1024"))
RATE = float(os.environ.get("KONSUL_BENCH_JOIN_RATE", "200"))
VALUE_BYTES = int(os.environ.get("KONSUL_BENCH_JOIN_VALUE", "1000"))
BATCH = 1_000
SNAPSHOT_RATE = os.environ.get("KONSUL_BENCH_JOIN_SNAPSHOT_RATE", "")
"""Bytes per second, empty: the default."""
PROMOTED_S = 1_200.0
SAMPLE_S = 0.2


@dataclass
class Memory:
    """The most resident memory of processes, in MB, watched from a thread of its own."""

    rss: dict[str, float] = field(default_factory=dict)
    private: dict[str, float] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)

    def watch(self, *nodes: Node) -> threading.Thread:
        thread = threading.Thread(target=self._watch, args=nodes, daemon=True)
        thread.start()
        return thread

    def end(self) -> None:
        self._ended.set()

    def _watch(self, *nodes: Node) -> None:
        while not self._ended.wait(SAMPLE_S):
            for node in nodes:
                self._take(node)

    def _take(self, node: Node) -> None:
        try:
            lines = Path(f"/proc/{node.pid}/status").read_text().splitlines()
        except OSError:
            return
        held = dict(line.split(":", 1) for line in lines)
        for name, found in (("VmRSS", self.rss), ("RssAnon", self.private)):
            mb = int(held.get(name, "0 kB").split()[0]) / 1_024
            found[node.name] = max(found.get(node.name, 0.0), mb)


def fill(trio: Cluster) -> None:
    """Writes JOIN_MB of values that do not compress, through the leader."""
    leader = trio.until_leader()

    def write(number: int) -> None:
        items = {f"join/{number}/{key}": os.urandom(VALUE_BYTES // 2).hex() for key in range(BATCH)}
        answer = leader.ask("POST", "/batch/kv/set", {"items": items}, timeout_s=120)
        if answer.status != 200:
            raise RuntimeError(f"filling failed: {answer}")

    with ThreadPoolExecutor(4) as writers:
        list(writers.map(write, range(JOIN_MB * MIB // (BATCH * VALUE_BYTES))))
    # What the filling left to be written back would be measured instead of the arrival.
    os.sync()


def measure(trio: Cluster) -> dict[str, Any]:
    """Fills, lets a fourth node join under load, and tells what it cost."""
    fill(trio)
    trio.until_alike(deadline_s=300)
    leader = trio.until_leader()
    quiet = asyncio.run(steady.run([leader], 10, RATE))
    node = trio.add("n4", {"KONSUL_RAFT_JOIN": ",".join(trio.addresses())})
    node.python = leader.python
    memory = Memory()
    promoted: list[float] = []
    begun = time.monotonic()

    def arrive() -> None:
        node.launch()
        trio.until_members("n1", "n2", "n3", "n4", deadline_s=PROMOTED_S)
        promoted.append(time.monotonic() - begun)

    arrival = threading.Thread(target=arrive)
    arrival.start()
    until(lambda: node.pid, "the fourth process")
    watcher = memory.watch(leader, node)
    busy: list[float] = []
    failed = 0
    while arrival.is_alive():
        seen = asyncio.run(steady.run([leader], 5, RATE))
        busy += seen.writes
        failed += seen.failed
    arrival.join()
    if not promoted:
        raise RuntimeError(f"the fourth node was not promoted within {PROMOTED_S} s")
    trio.until_alike(deadline_s=300)
    memory.end()
    watcher.join()
    busy.sort()
    return {
        "data, MB": JOIN_MB,
        "of a value, bytes": VALUE_BYTES,
        "launch to voter, s": promoted[0],
        "leader write p50 before, ms": at(quiet.writes, 0.5),
        "leader write p99 before, ms": at(quiet.writes, 0.99),
        "leader write p50 meanwhile, ms": at(busy, 0.5),
        "leader write p99 meanwhile, ms": at(busy, 0.99),
        "leader write max meanwhile, ms": busy[-1],
        "writes failed": failed + quiet.failed,
        "leader RSS, most, MB": memory.rss[leader.name],
        "leader RSS without mapped files, most, MB": memory.private[leader.name],
        "joiner RSS, most, MB": memory.rss[node.name],
        "joiner RSS without mapped files, most, MB": memory.private[node.name],
    }


def main() -> int:
    interpreter = release.python()
    release.REPORTS.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=release.REPORTS, prefix=".join-") as folder,
        cluster(interpreter, Path(folder), "default", {"KONSUL_RAFT_SNAPSHOT_RATE": SNAPSHOT_RATE}) as trio,
    ):
        figures = measure(trio)
    lines = [f"| {what} | {figure:.1f} |" for what, figure in figures.items()]
    page = "\n".join(["# A fresh node joins", "", "| what | figure |", "| --- | ---: |", *lines, ""])
    (release.REPORTS / "join.md").write_text(page)
    (release.REPORTS / "join.json").write_text(json.dumps(figures, indent=1))
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
