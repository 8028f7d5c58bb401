"""Prints what searches cost, and how long a read of one key takes beside hostile ones.

KONSUL_BENCH_PYTHON names an interpreter to measure in place of a release build.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from benches import release
from benches.served import Served, send

INSTANCES = int(os.environ.get("KONSUL_BENCH_INSTANCES", "100000"))
SECONDS = float(os.environ.get("KONSUL_BENCH_SECONDS", "5"))
PER_SERVICE = 10
BATCH = 100
HOSTILE_AT_ONCE = 4
HOSTILE = " or ".join(["Meta.owner matches `(x|xx)+y$`"] * 8 + ["Meta.env == nothing"] * 56)
SEARCHES = {
    "by name": "Service == `svc-00042`",
    "by tag, of which one in ten has it": "t3 in Tags and Meta.env == nothing",
    "one comparison of every row": "Port == 1",
    "64 comparisons of every row": " or ".join(["Meta.env == nothing"] * 64),
    "8 patterns and 56 comparisons": HOSTILE,
}


def fill(url: str) -> None:
    """Ten instances each of so many services."""
    for start in range(0, INSTANCES, BATCH):
        services = [
            {
                "name": f"svc-{number // PER_SERVICE:05}",
                "id": f"i{number % PER_SERVICE}",
                "address": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
                "port": 8080,
                "tags": [f"t{number % 10}", "all"],
                "meta": {"env": "prod", "owner": "x" * 64},
                "ttl": "0",
            }
            for number in range(start, start + BATCH)
        ]
        send("POST", f"{url}/batch/services/register", json.dumps({"services": services}).encode())


def walk(url: str, filter_: str, stop: threading.Event | None = None) -> list[float]:
    """Seconds of every call of a search, page after page, until its end or `stop`."""
    parts = urlsplit(url)
    line = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=60)
    took: list[float] = []
    after: str | None = None
    while stop is None or not stop.is_set():
        params = {"filter": filter_} | ({"after": after} if after else {})
        begun = time.perf_counter()
        line.request("GET", f"/services?{urlencode(params)}")
        answer = line.getresponse()
        answer.read()
        took.append(time.perf_counter() - begun)
        if answer.status != 200:
            sys.exit(f"a search was answered {answer.status}")
        after = answer.headers.get("X-Konsul-Next-After")
        if after is None and stop is None:
            break
    line.close()
    return took


def reads(url: str) -> list[float]:
    """Seconds of reads of one service, one after the other, which is not the fast way of the front."""
    parts = urlsplit(url)
    line = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=60)
    took: list[float] = []
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        begun = time.perf_counter()
        line.request("GET", "/services/svc-00007/instances")
        line.getresponse().read()
        took.append(time.perf_counter() - begun)
    line.close()
    return took


def searches(served: Served, url: str) -> None:
    """A row per search."""
    print("| search | calls | longest call ms | server CPU ms per call |")
    print("| --- | --- | --- | --- |")
    for name, filter_ in SEARCHES.items():
        begun = served.cpu_s()
        took = walk(url, filter_)
        cpu_ms = (served.cpu_s() - begun) / len(took) * 1_000
        print(f"| {name} | {len(took)} | {max(took) * 1_000:,.1f} | {cpu_ms:,.1f} |", flush=True)


def row(name: str, took: list[float]) -> None:
    """What a reader noticed."""
    hundredths = statistics.quantiles(took, n=100)
    times = " | ".join(f"{one * 1_000:,.2f}" for one in (hundredths[49], hundredths[98], max(took)))
    print(f"| {name} | {len(took):,} | {times} |", flush=True)


def main() -> int:
    """Prints both tables."""
    with tempfile.TemporaryDirectory(prefix="konsul-search-") as folder:
        served, url = release.konsul(release.python(), Path(folder), {"KONSUL_ACCESS_LOG": "off"})
        with served:
            begun = time.monotonic()
            fill(url)
            print(f"{INSTANCES:,} instances registered in {time.monotonic() - begun:,.1f} s\n")
            searches(served, url)
            print("\n| reads of one service | number | p50 ms | p99 ms | longest ms |")
            print("| --- | --- | --- | --- | --- |")
            row("alone", reads(url))
            stop = threading.Event()
            callers = [
                threading.Thread(target=walk, args=(url, HOSTILE, stop)) for _ in range(HOSTILE_AT_ONCE)
            ]
            for caller in callers:
                caller.start()
            row(f"beside {HOSTILE_AT_ONCE} hostile searches", reads(url))
            stop.set()
            for caller in callers:
                caller.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
