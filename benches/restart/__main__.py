"""Prints how a node with a million keys comes back from a SIGKILL. `make bench` runs it."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from benches import release
from benches.served import Served, send

KEYS = int(os.environ.get("KONSUL_BENCH_KEYS", "1000000"))
BATCH = 1_000
VALUE = "v" * 100
SAMPLES = 1_000
SETTINGS = {"KONSUL_RAFT_SNAPSHOT_INTERVAL": "5s", "KONSUL_RAFT_SNAPSHOT_THRESHOLD": "100"}


def key(number: int) -> str:
    """The name of one key."""
    return f"restart/{number:08}"


def fill(url: str) -> list[float]:
    """Writes every key; returns how long each batch took, in ms."""
    took = []
    for start in range(0, KEYS, BATCH):
        body = json.dumps({"items": {key(number): VALUE for number in range(start, start + BATCH)}}).encode()
        begun = time.perf_counter()
        send("POST", f"{url}/batch/kv/set", body)
        took.append((time.perf_counter() - begun) * 1e3)
    return sorted(took)


def read(url: str) -> bytes:
    """The body of a GET."""
    with urllib.request.urlopen(url, timeout=30) as reply:  # noqa: S310 - our own loopback address
        body: bytes = reply.read()
        return body


def metric(url: str, name: str) -> float:
    """One sample of the metrics page, over its labels."""
    lines = read(f"{url}/metrics").decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def missing(url: str) -> int:
    """How many keys are not there, by count and by a sample of values."""
    total = int(json.loads(read(f"{url}/health"))["kv_store"]["total_keys"])
    step = max(1, KEYS // SAMPLES)
    asked = [key(number) for number in range(0, KEYS, step)][:BATCH]
    answer = json.loads(send("POST", f"{url}/batch/kv/get", json.dumps({"keys": asked}).encode()))
    wrong = sum(answer["found"].get(name) != VALUE for name in asked)
    return abs(KEYS - total) + int(wrong)


def disk_mb(folder: Path) -> float:
    """What the folder's files take."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file()) / (1 << 20)


def run(served: Served, url: str, folder: Path) -> tuple[str, int]:
    """Fills, kills, starts again; the report and the number of keys lost."""
    begun = time.monotonic()
    took = fill(url)
    rate = KEYS / (time.monotonic() - begun)
    snapshots = metric(url, "konsul_raft_snapshot_total")
    filled_mb, filled_private_mb = served.rss_mb(), served.private_mb()
    ready_s = served.kill_and_start()
    lost = missing(url)
    rows = [
        ("keys, with 100-byte values", f"{KEYS:,}"),
        ("written by one client in batches, keys/s", f"{rate:,.0f}"),
        (
            "batch of 1,000, p50 / p99 / longest, ms",
            f"{at(took, 0.5):.1f} / {at(took, 0.99):.1f} / {took[-1]:.1f}",
        ),
        ("snapshots taken meanwhile", f"{snapshots:.0f}"),
        ("RSS filled, of it private, MB", f"{filled_mb:.0f}, {filled_private_mb:.0f}"),
        ("ready after SIGKILL, s (the process start included)", f"{ready_s:.2f}"),
        ("RSS after the restart, of it private, MB", f"{served.rss_mb():.0f}, {served.private_mb():.0f}"),
        ("disk, MB", f"{disk_mb(folder):.0f}"),
        ("keys lost or changed", str(lost)),
    ]
    return "\n".join(
        ["| what | figure |", "| --- | ---: |", *(f"| {name} | {value} |" for name, value in rows)]
    ), lost


def at(ordered: list[float], share: float) -> float:
    """A percentile."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def main() -> int:
    interpreter = release.python()
    release.REPORTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=release.REPORTS, prefix=".restart-") as name:
        served, url = release.konsul(interpreter, Path(name), SETTINGS)
        with served:
            report, lost = run(served, url, Path(name))
    page = f"# A million keys and a SIGKILL\n\n{report}\n"
    (release.REPORTS / "restart.md").write_text(page)
    print(page)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
