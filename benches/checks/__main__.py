"""Prints what HTTP checks cost a node, how late they begin, and how soon a dead instance is out.

KONSUL_BENCH_PYTHON names an interpreter to measure in place of a release build.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

from benches import release
from benches.served import Served, answers, free_port, send

BATCH = 100
SETTINGS = {"KONSUL_LOG_LEVEL": "warn", "KONSUL_ACCESS_LOG": "off"}
WAIT_S = 120.0


class Found(NamedTuple):
    """One run. `cpu_percent`: of one core, the server's alone; `late_max_s`: the bucket that holds all."""

    checks: int
    interval_s: int
    runs: int
    cpu_percent: float
    target_cpu_percent: float
    late_mean_ms: float
    late_max_s: float
    rss_mb: float
    skipped: int
    entries: int
    out_s: float
    bad: int

    def __str__(self) -> str:
        return (
            f"{self.checks} HTTP checks every {self.interval_s} s: {self.runs} runs, "
            f"{self.cpu_percent:.1f} % of a core (the target's own {self.target_cpu_percent:.1f} %), begun "
            f"{self.late_mean_ms:.2f} ms late on average and never more than {self.late_max_s:g} s, "
            f"{self.skipped} skipped, {self.entries} log entries meanwhile, {self.rss_mb:.0f} MB; the "
            f"instance that fell ill was out of the answers after {self.out_s:.2f} s; {self.bad} wrong"
        )


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line; the defaults are what the project's budgets speak of."""
    parser = argparse.ArgumentParser("python -m benches.checks", description=__doc__)
    parser.add_argument("--checks", type=int, default=5_000)
    parser.add_argument("--interval", type=int, default=10, help="seconds")
    parser.add_argument("--seconds", type=int, default=60, help="of measuring")
    parser.add_argument("--reports", type=Path, default=release.REPORTS, help="folder, default reports")
    return parser.parse_args(argv)


def register(url: str, target: str, count: int, interval_s: int) -> None:
    """An instance with one check each, that stay without heartbeats."""
    services = [
        {
            "name": f"web-{number}",
            "address": "127.0.0.1",
            "port": 80,
            "ttl": "0",
            "checks": [
                {"id": f"c{number}", "http": f"{target}/health/{number}", "interval": f"{interval_s}s"}
            ],
        }
        for number in range(count)
    ]
    for start in range(0, count, BATCH):
        body = json.dumps({"services": services[start : start + BATCH]}).encode()
        answer = json.loads(send("POST", f"{url}/batch/services/register", body))
        if answer.get("failed"):
            sys.exit(f"not registered: {answer}")


def get(url: str) -> Any:
    """The JSON of an answer; None for any but 200."""
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:  # noqa: S310 - our own loopback address
            return json.loads(reply.read())
    except urllib.error.HTTPError:
        return None


def metrics(url: str) -> dict[str, float]:
    """Every sample of the page of metrics, by its name with labels."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as reply:  # noqa: S310 - our own address
        lines = reply.read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


LATE = "konsul_health_check_lateness_seconds"


def latest(before: dict[str, float], after: dict[str, float]) -> float:
    """The upper end of the highest bucket of lateness that something fell into."""
    bounds = sorted(
        (float(name.split('le="')[1].split('"')[0]), after[name] - before.get(name, 0.0))
        for name in after
        if name.startswith(f"{LATE}_bucket")
    )
    runs = after[f"{LATE}_count"] - before.get(f"{LATE}_count", 0.0)
    return next((bound for bound, count in bounds if count >= runs), float("inf"))


def until(condition: Any, what: str) -> float:
    """Waits, and returns how long; ends the program when it takes too long."""
    begun_s = time.monotonic()
    while not condition():
        if time.monotonic() - begun_s > WAIT_S:
            sys.exit(f"waited {WAIT_S:.0f} s for {what}")
        time.sleep(0.05)
    return time.monotonic() - begun_s


def measure(interpreter: str, folder: Path, options: argparse.Namespace) -> Found:
    """Registers, lets them run, and lets one fall ill."""
    count, interval_s = options.checks, options.interval
    served, url = release.konsul(interpreter, folder, SETTINGS)
    ports = free_port(), free_port()
    targets = [
        Served(
            (sys.executable, "-m", "benches.checks.target", str(port)),
            {},
            folder / f"target-{port}.log",
            answers(f"http://127.0.0.1:{port}/up"),
        )
        for port in ports
    ]
    with served, targets[0] as target, targets[1]:
        register(url, f"http://127.0.0.1:{ports[0]}", count, interval_s)
        runs = 'konsul_health_check_results_total{status="passing",type="http"}'
        until(lambda: metrics(url).get(runs, 0) >= count * 2, "two runs of every check")
        before, index = metrics(url), get(f"{url}/health")["raft"]["index"]
        begun_s, cpu_s, target_s = time.monotonic(), served.cpu_s(), target.cpu_s()
        time.sleep(options.seconds)
        spent_s = time.monotonic() - begun_s
        cpu_s, target_s = served.cpu_s() - cpu_s, target.cpu_s() - target_s
        after, entries = metrics(url), get(f"{url}/health")["raft"]["index"] - index
        done = round(after[runs] - before[runs])
        wrong = len(get(f"{url}/health/state/critical?limit=10") or ())
        late_s = after[f"{LATE}_sum"] - before[f"{LATE}_sum"]
        return Found(
            checks=count,
            interval_s=interval_s,
            runs=done,
            cpu_percent=100 * cpu_s / spent_s,
            target_cpu_percent=100 * target_s / spent_s,
            late_mean_ms=1_000 * late_s / max(1, after[f"{LATE}_count"] - before[f"{LATE}_count"]),
            late_max_s=latest(before, after),
            rss_mb=served.rss_mb(),
            skipped=round(after["konsul_health_check_skipped_total"]),
            entries=entries,
            out_s=out_of_answers(url, f"http://127.0.0.1:{ports[1]}", interval_s),
            bad=wrong + (0 if done >= 0.9 * count * spent_s / interval_s else 1),
        )


def out_of_answers(url: str, target: str, interval_s: int) -> float:
    """Seconds from when a target falls ill until nobody is given its instance, beside all the others."""
    check = {"id": "falls-ill", "http": f"{target}/health", "interval": f"{interval_s}s"}
    service = {"name": "falls-ill", "address": "127.0.0.1", "port": 80, "ttl": "0", "checks": [check]}
    send("PUT", f"{url}/register", json.dumps(service).encode())
    passing = f"{url}/services/falls-ill/instances?passing=true"
    until(lambda: get(passing), "the instance to pass")
    urllib.request.urlopen(f"{target}/down", timeout=30).close()  # noqa: S310 - our own loopback address
    spent_s = until(lambda: get(passing) == [], "the instance to leave")
    if get(f"{url}/lb/service/falls-ill") is not None:
        sys.exit("an instance that passes nothing was selected")
    return spent_s


def main(argv: list[str]) -> int:
    """Returns how much went wrong."""
    options = parse(argv)
    interpreter = os.environ.get("KONSUL_BENCH_PYTHON") or release.python()
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        found = measure(interpreter, Path(folder), options)
    options.reports.mkdir(exist_ok=True)
    (options.reports / "checks.md").write_text(f"# Health checks\n\n- {found}\n", "utf-8")
    print(found)
    return found.bad


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
