"""Prints what a real server does under wrk, and what each request costs it. `make bench` runs it."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benches import release, wrk
from benches.served import Served, send

HERE = Path(__file__).parent
BATCH = 1_000
KEYS = 10_000
VALUE = "v" * 100
SECONDS = int(os.environ.get("KONSUL_BENCH_SECONDS", "8"))


@dataclass(frozen=True)
class Case:
    """One kind of load. `per_request`: how many keys one request touches."""

    name: str
    script: str
    connections: int = wrk.CONNECTIONS
    per_request: int = 1


CASES = (
    Case("GET one key", "get.lua"),
    Case("PUT one key", "put.lua"),
    Case("9 GET to 1 PUT", "mixed.lua"),
    Case("batch set, 1000 keys", "batch_set.lua", 8, BATCH),
    Case("batch get, 1000 keys", "batch_get.lua", 8, BATCH),
)


@dataclass(frozen=True)
class Figure:
    """What one case came to. CPU is the server's, user and system, of all its threads."""

    name: str
    requests_per_s: float
    keys_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    rss_mb: float
    bad: int


def measure(served: Served, url: str, case: Case) -> Figure:
    """Runs one case against a server that has its keys."""
    before_s = served.cpu_s()
    load = wrk.run(url, HERE / case.script, seconds=SECONDS, connections=case.connections)
    cpu_us = (served.cpu_s() - before_s) * 1e6 / max(1, load.requests)
    rate = load.per_second
    return Figure(
        case.name, rate, rate * case.per_request, load.p50_ms, load.p99_ms, cpu_us, served.rss_mb(), load.bad
    )


def fill(url: str) -> None:
    """Writes every key the cases use."""
    for start in range(0, KEYS, BATCH):
        items = {f"bench/{number:05}": VALUE for number in range(start, start + BATCH)}
        send("POST", f"{url}/batch/kv/set", json.dumps({"items": items}).encode())


def table(figures: list[Figure]) -> str:
    """The figures as a markdown table."""
    lines = [
        "| load | requests/s | keys/s | p50 ms | p99 ms | server CPU us/request | RSS MB | failed |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {f.name} | {f.requests_per_s:,.0f} | {f.keys_per_s:,.0f} | {f.p50_ms:.2f} | {f.p99_ms:.2f} "
        f"| {f.cpu_us:.1f} | {f.rss_mb:.0f} | {f.bad} |"
        for f in figures
    ]
    return "\n".join(lines)


def main() -> int:
    wrk.need()
    interpreter = release.python()
    release.REPORTS.mkdir(exist_ok=True)
    # Beside the sources, not in a temporary folder: that may be memory, where a sync costs nothing.
    with tempfile.TemporaryDirectory(dir=release.REPORTS, prefix=".doors-") as folder:
        served, url = release.konsul(interpreter, Path(folder))
        with served:
            fresh_mb = served.rss_mb()
            fill(url)
            wrk.run(url, HERE / "get.lua", seconds=1)
            figures = [measure(served, url, case) for case in CASES]
    title = f"{wrk.CONNECTIONS} keep-alive connections, {SECONDS} s each, 100-byte values"
    where = f"{os.cpu_count()} cores shared with wrk; a fresh node has {fresh_mb:.0f} MB"
    page = f"# The HTTP door under load\n\n{title}, {where}.\n\n{table(figures)}\n"
    (release.REPORTS / "doors.md").write_text(page)
    document = {"at_s": int(time.time()), "fresh_rss_mb": fresh_mb, "figures": [asdict(f) for f in figures]}
    (release.REPORTS / "doors.json").write_text(json.dumps(document, indent=1))
    print(page)
    return 1 if any(figure.bad for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
