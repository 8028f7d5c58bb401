"""Prints what one selection costs the server, by strategy and by number of candidates.

KONSUL_BENCH_PYTHON names an interpreter to measure in place of a release build.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
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


def measure(served: Served, url: str, size: int, strategy: str) -> tuple[str, float, float, int]:
    """Strategy, CPU microseconds of the server per selection, selections per second, failed requests."""
    send("PUT", f"{url}/lb/strategy", json.dumps({"strategy": strategy}).encode())
    path = f"{url}/lb/service/fleet-{size}"
    wrk.run(path, SCRIPT, seconds=1, connections=CONNECTIONS)
    begun = served.cpu_s()
    load = wrk.run(path, SCRIPT, seconds=SECONDS, connections=CONNECTIONS)
    return strategy, (served.cpu_s() - begun) / load.requests * 1e6, load.per_second, load.bad


def main() -> int:
    """Prints a row per strategy; 1 if a request failed."""
    wrk.need()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="konsul-lb-") as folder:
        settings = {"KONSUL_SERVICE_TTL": "10m", "KONSUL_ACCESS_LOG": "off"}
        served, url = release.konsul(release.python(), Path(folder), settings)
        with served:
            print("| strategy | candidates | server CPU us | selections/s |")
            print("| --- | --- | --- | --- |")
            for size in SIZES:
                fill(url, size)
                for strategy in STRATEGIES:
                    name, cpu_us, rate, bad = measure(served, url, size, strategy)
                    print(f"| {name} | {size:,} | {cpu_us:,.0f} | {rate:,.0f} |", flush=True)
                    failed += bad
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
