"""Prints what one DNS question costs the server, from the cache and without it, over 10,000 names.

KONSUL_BENCH_PYTHON names an interpreter to measure in place of a release build.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import tempfile
from pathlib import Path

from benches import release
from benches.dns import dnsperf
from benches.served import Served, send

SECONDS = int(os.environ.get("KONSUL_BENCH_SECONDS", "5"))
NAMES = int(os.environ.get("KONSUL_BENCH_NAMES", "10000"))
INSTANCES = 3
BATCH = 99
SETTINGS = {
    "KONSUL_SERVICE_TTL": "1h",
    "KONSUL_ACCESS_LOG": "off",
    "KONSUL_DNS_ENABLED": "true",
    "KONSUL_DNS_PORT": "0",
    "KONSUL_DNS_CACHE_ENTRIES": "40000",
}
_PORT = re.compile(r'"msg": ?"dns".*"port": ?(\d+)')


def fill(url: str) -> None:
    """Registers `NAMES` services of `INSTANCES` each."""
    instances = [
        {
            "name": f"app{number:05}",
            "id": f"app{number:05}-{one}",
            "address": f"10.{number >> 8}.{number & 255}.{one + 1}",
            "port": 8_000 + one,
        }
        for number in range(NAMES)
        for one in range(INSTANCES)
    ]
    for start in range(0, len(instances), BATCH):
        body = json.dumps({"services": instances[start : start + BATCH]}).encode()
        send("POST", f"{url}/batch/services/register", body)


def questions(folder: Path, kind: str) -> Path:
    """A file of questions for every name, in an order of its own."""
    names = [f"app{number:05}.service.consul {kind}" for number in range(NAMES)]
    random.Random(53).shuffle(names)  # noqa: S311 - the same order in every run
    path = folder / f"{kind}.txt"
    path.write_text("\n".join(names) + "\n", encoding="ascii")
    return path


def measure(served: Served, port: int, path: Path, transport: str) -> tuple[dnsperf.Load, float]:
    """The load, and CPU microseconds of the server per question."""
    begun = served.cpu_s()
    load = dnsperf.run(port, path, seconds=SECONDS, transport=transport)
    return load, (served.cpu_s() - begun) / load.completed * 1e6


def rounds(folder: Path, interpreter: str, title: str, settings: dict[str, str]) -> int:
    """A row per type and transport; how many runs were not clean."""
    bad = 0
    place = folder / title.replace(" ", "-")
    place.mkdir()
    served, url = release.konsul(interpreter, place, SETTINGS | settings)
    with served:
        fill(url)
        found = _PORT.search((place / "konsul.log").read_text(encoding="utf-8"))
        if found is None:
            sys.exit("the server said nothing of its DNS port")
        port = int(found[1])
        for kind, transport in (("A", "udp"), ("SRV", "udp"), ("A", "tcp")):
            path = questions(folder, kind)
            # Once for everything there is to keep.
            dnsperf.run(port, path, transport=transport)
            load, cpu_us = measure(served, port, path, transport)
            bad += not load.is_clean
            figures = (
                f"{load.per_second:,.0f} | {cpu_us:,.1f} | {load.average_ms:.2f} | {load.longest_ms:.1f}"
            )
            print(f"| {title} | {kind} | {transport} | {figures} | {load.lost} |", flush=True)
    return bad


def main() -> int:
    """Prints a row per run; 1 if a question was not answered with records."""
    dnsperf.need()
    print("| answers | type | over | questions/s | server CPU us | average ms | longest ms | lost |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    interpreter = release.python()
    with tempfile.TemporaryDirectory(prefix="konsul-dns-") as folder:
        bad = rounds(Path(folder), interpreter, "from the cache", {})
        bad += rounds(Path(folder), interpreter, "looked up", {"KONSUL_DNS_CACHE_ENTRIES": "0"})
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
