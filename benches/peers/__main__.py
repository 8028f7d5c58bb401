"""The same load against Konsul and every other store that is installed, in turns. `make peers` runs it.

Other things share a machine, so a figure means little alone: the stores take turns, each figure is the median
of its rounds, and the ratios are what counts.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from benches import release, wrk
from benches.peers import trios
from benches.peers.contenders import Contender, Measured, everyone

ROUNDS = int(os.environ.get("KONSUL_BENCH_ROUNDS", "3"))
SECONDS = int(os.environ.get("KONSUL_BENCH_SECONDS", "6"))
NODES = [int(nodes) for nodes in os.environ.get("KONSUL_BENCH_NODES", "1,3").split(",")]
KEYS = 10_000
VALUE = "v" * 100


@dataclass(frozen=True)
class Turn:
    """One store's figures for one kind of load in one round."""

    contender: str
    load: str
    requests_per_s: float
    p99_ms: float
    cpu_us: float
    bad: int


@dataclass(frozen=True)
class Row:
    """Medians of a store's rounds. Ratios are against Konsul: over 1, Konsul does more, or needs less CPU."""

    contender: str
    nodes: int
    durable: str
    load: str
    requests_per_s: float
    p99_ms: float
    cpu_us: float
    rss_mb: float
    throughput_ratio: float
    cpu_ratio: float
    bad: int


@dataclass(frozen=True)
class Running:
    """A contender that serves."""

    contender: Contender
    served: Measured
    url: str

    def fill(self) -> None:
        """Writes every key of the load."""
        with ThreadPoolExecutor(32) as writers:
            names = (f"bench/{number:05}" for number in range(KEYS))
            list(writers.map(lambda name: self.contender.store(self.url, name, VALUE), names))

    def turn(self, load: str, script: Path) -> Turn:
        """One run of wrk."""
        before_s = self.served.cpu_s()
        seen = wrk.run(self.url, script, seconds=SECONDS)
        cpu_us = (self.served.cpu_s() - before_s) * 1e6 / max(1, seen.requests)
        return Turn(self.contender.name, load, seen.per_second, seen.p99_ms, cpu_us, seen.bad)


def play(running: list[Running]) -> list[Turn]:
    """Every round, every load, every store in turn."""
    turns: list[Turn] = []
    for number in range(ROUNDS):
        for load in ("GET", "PUT"):
            for each in running:
                script = each.contender.get if load == "GET" else each.contender.put
                turns.append(each.turn(load, script))
                rate = f"{turns[-1].requests_per_s:,.0f}/s"
                print(f"round {number + 1}: {load}, {each.contender.name}: {rate}", file=sys.stderr)
    return turns


def medians(running: list[Running], turns: list[Turn], nodes: int) -> list[Row]:
    """One row per load and store, Konsul's first."""
    rows: list[Row] = []
    for load in ("GET", "PUT"):
        for each in running:
            own = [turn for turn in turns if (turn.contender, turn.load) == (each.contender.name, load)]
            rate, p99_ms, cpu_us = (
                statistics.median(getattr(turn, name) for turn in own)
                for name in ("requests_per_s", "p99_ms", "cpu_us")
            )
            ours = next((row for row in rows if row.load == load), None)
            rows.append(
                Row(
                    contender=each.contender.name,
                    nodes=nodes,
                    durable=each.contender.durable,
                    load=load,
                    requests_per_s=rate,
                    p99_ms=p99_ms,
                    cpu_us=cpu_us,
                    rss_mb=each.served.rss_mb(),
                    throughput_ratio=ours.requests_per_s / rate if ours else 1.0,
                    cpu_ratio=cpu_us / ours.cpu_us if ours else 1.0,
                    bad=sum(turn.bad for turn in own),
                )
            )
    return rows


def table(rows: list[Row]) -> str:
    """The rows as a markdown table."""
    lines = [
        "| nodes | load | store | durable | requests/s | p99 ms | server CPU us/request | RSS MB "
        "| Konsul's throughput | its CPU, Konsul = 1 | failed |",
        "| ---: | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row.nodes} | {row.load} | {row.contender} | {row.durable} | {row.requests_per_s:,.0f} "
        f"| {row.p99_ms:.2f} | {row.cpu_us:.1f} | {row.rss_mb:.0f} "
        f"| x {row.throughput_ratio:.2f} | x {row.cpu_ratio:.2f} | {row.bad} |"
        for row in rows
    ]
    return "\n".join(lines)


def compete(contenders: list[Contender], nodes: int) -> list[Row]:
    """All rounds of stores of so many nodes each."""
    with tempfile.TemporaryDirectory(dir=release.REPORTS, prefix=".peers-") as folder, ExitStack() as stack:
        running = []
        for contender in contenders:
            served, url = contender.start(Path(folder))
            stack.enter_context(served)
            running.append(Running(contender, served, url()))
        for each in running:
            each.fill()
        return medians(running, play(running), nodes)


def main() -> int:
    wrk.need()
    release.REPORTS.mkdir(exist_ok=True)
    rows: list[Row] = []
    for nodes, found in ((1, everyone), (trios.SIZE, trios.everyone)):
        if nodes not in NODES:
            continue
        contenders = found()
        rows += compete(contenders, nodes)
        if len(contenders) == 1:
            print(
                "no other store was found: see benches/peers/README.md for how to name one", file=sys.stderr
            )
    title = f"{wrk.CONNECTIONS} keep-alive connections, median of {ROUNDS} alternating rounds of {SECONDS} s"
    page = f"# Konsul and its peers\n\n{title}, {os.cpu_count()} cores shared with wrk.\n\n{table(rows)}\n"
    (release.REPORTS / "peers.md").write_text(page)
    (release.REPORTS / "peers.json").write_text(json.dumps([asdict(row) for row in rows], indent=1))
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
