"""Prints what leader kills and steady writes cost on three nodes. `make kills` runs it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from benches import release
from benches.cluster import failover, steady
from benches.cluster.shipped import PROFILES, at, cluster

KILLS = int(os.environ.get("KONSUL_BENCH_KILLS", "100"))
GAP_KILLS = int(os.environ.get("KONSUL_BENCH_GAP_KILLS", "12"))
RATE = float(os.environ.get("KONSUL_BENCH_RATE", "1000"))
RATE_SECONDS = float(os.environ.get("KONSUL_BENCH_RATE_SECONDS", "20"))
SHOWN_MAX = 1_000
Row = dict[str, Any]


def measure(interpreter: str, folder: Path, profile: str) -> list[Row]:
    """All figures with one profile."""
    rows: list[Row] = []
    with cluster(interpreter, folder, profile) as trio:
        leader = trio.until_leader()
        others = [node for node in trio.nodes.values() if node is not leader]
        for where, targets in (("the leader", [leader]), ("a follower", others[:1])):
            seen = asyncio.run(
                steady.run(targets, RATE_SECONDS, RATE, others if targets[0] is leader else ())
            )
            rows.append(row(profile, f"write through {where} at {RATE:.0f}/s, ms", seen.writes, seen.failed))
            if seen.lags:
                rows.append(row(profile, "a follower's lag meanwhile, ms", seen.lags, 0))
        took = failover.first_writes(trio, KILLS)
        rows.append(row(profile, "kill of the leader to the first write, ms", took, 0))
        took = failover.gaps(trio, GAP_KILLS)
        rows.append(row(profile, "a client's longest time without a write, ms", took, 0))
    return rows


def row(profile: str, what: str, ordered: list[float], failed: int) -> Row:
    return {
        "profile": profile,
        "what": what,
        "count": len(ordered),
        "p50": at(ordered, 0.5),
        "p99": at(ordered, 0.99),
        "max": ordered[-1],
        "failed": failed,
        "all": [round(figure, 1) for figure in ordered] if len(ordered) <= SHOWN_MAX else [],
    }


def table(rows: list[Row]) -> str:
    """The rows as a markdown table."""
    lines = [
        "| profile | what | count | p50 | p99 | max | failed |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in rows:
        figures = " | ".join(f"{one[name]:.1f}" for name in ("p50", "p99", "max"))
        lines.append(f"| {one['profile']} | {one['what']} | {one['count']} | {figures} | {one['failed']} |")
    return "\n".join(lines)


def main() -> int:
    interpreter = release.python()
    release.REPORTS.mkdir(exist_ok=True)
    rows: list[Row] = []
    for profile in PROFILES:
        with tempfile.TemporaryDirectory(dir=release.REPORTS, prefix=".cluster-") as folder:
            rows += measure(interpreter, Path(folder), profile)
        print(table(rows), file=sys.stderr)
    page = f"# Three nodes\n\n{os.cpu_count()} cores shared with the clients.\n\n{table(rows)}\n"
    (release.REPORTS / "cluster.md").write_text(page)
    (release.REPORTS / "cluster.json").write_text(json.dumps(rows, indent=1))
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
