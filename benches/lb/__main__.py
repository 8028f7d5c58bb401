"""Prints what one selection costs the server, by strategy and by number of candidates.

KONSUL_BENCH_PYTHON names an interpreter to measure in place of a release build, KONSUL_BENCH_AGAINST a second
one, measured in turn with the first.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benches import release, wrk
from benches.served import Served, send

SECONDS = int(os.environ.get("KONSUL_BENCH_SECONDS", "3"))
SIZES = (10, 1_000)
CONNECTIONS = 8
BATCH = 100
STRATEGIES = (
    "round-robin",
    "random",
    "least-connections",
    "weighted-round-robin",
    "weighted-random",
    "ip-hash",
    "ring-hash",
    "latency-based",
)
SETTINGS = {"KONSUL_SERVICE_TTL": "10m", "KONSUL_ACCESS_LOG": "off", "KONSUL_DNS_ENABLED": "false"}
SCRIPT = Path(__file__).with_name("get.lua")


def fill(url: str, size: int) -> None:
    """Registers `size` instances of `fleet-<size>`, of ten weights, in two zones."""
    instances = [
        {
            "name": f"fleet-{size}",
            "id": f"i{number:05}",
            "address": f"10.0.{number >> 8}.{number & 255}",
            "port": 80,
            "tags": ["bench", f"size-{size}"],
            "meta": {"weight": str(1 + number % 10), "zone": "ab"[number % 2]},
        }
        for number in range(size)
    ]
    for start in range(0, size, BATCH):
        send(
            "POST",
            f"{url}/batch/services/register",
            json.dumps({"services": instances[start : start + BATCH]}).encode(),
        )


def measure(served: Served, url: str, size: int, strategy: str) -> tuple[float, float, int]:
    """CPU microseconds of the server per selection, selections per second, failed requests."""
    send("PUT", f"{url}/lb/strategy", json.dumps({"strategy": strategy}).encode())
    path = f"{url}/lb/service/fleet-{size}"
    wrk.run(path, SCRIPT, seconds=1, connections=CONNECTIONS)
    begun = served.cpu_s()
    load = wrk.run(path, SCRIPT, seconds=SECONDS, connections=CONNECTIONS)
    return (served.cpu_s() - begun) / load.requests * 1e6, load.per_second, load.bad


def main() -> int:
    """Prints a row per strategy and size, and keeps the report; 1 if a request failed."""
    wrk.need()
    interpreters = [release.python(), *filter(None, [os.environ.get("KONSUL_BENCH_AGAINST")])]
    failed = 0
    heads = [" server CPU us | selections/s |", " against: CPU us | selections/s |"]
    lines = ["| strategy | candidates |" + "".join(heads[: len(interpreters)])]
    lines.append("| --- | --- |" + " --- | --- |" * len(interpreters))
    with tempfile.TemporaryDirectory(prefix="konsul-lb-") as folder, ExitStack() as stack:
        running: list[tuple[Served, str]] = []
        for number, interpreter in enumerate(interpreters):
            place = Path(folder) / str(number)
            place.mkdir()
            served, url = release.konsul(interpreter, place, SETTINGS)
            running.append((stack.enter_context(served), url))
        for size in SIZES:
            for _, url in running:
                fill(url, size)
            for strategy in STRATEGIES:
                cells = ""
                for served, url in running:
                    cpu_us, rate, bad = measure(served, url, size, strategy)
                    cells += f" {cpu_us:,.0f} | {rate:,.0f} |"
                    failed += bad
                lines.append(f"| {strategy} | {size:,} |{cells}")
                print(lines[-1], flush=True)
    report = "\n".join(["# One selection", "", *lines, ""])
    (release.REPORTS / "lb.md").write_text(report, encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
