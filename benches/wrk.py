"""Runs wrk and reads its report; https://github.com/wg/wrk."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 64
_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1_000.0, "m": 60_000.0}


@dataclass(frozen=True)
class Load:
    """What one run of wrk saw. `bad`: answers other than 2xx and 3xx, and broken connections."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    bad: int

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def need() -> None:
    """Makes sure that wrk is there: installs Debian's package when allowed to, else ends with what to do."""
    if shutil.which("wrk"):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "install", "--yes", "--quiet", "wrk"], check=False, timeout=600)
    if not shutil.which("wrk"):
        sys.exit("wrk is missing: install it (Debian, Ubuntu: sudo apt-get install wrk) and try again")


def run(url: str, script: Path, *, seconds: int, connections: int = CONNECTIONS, header: str = "") -> Load:
    """One run on one thread: on small machines more would only take the server's cores.

    `header`: sent with each request, for scripts that ask `keys.headers`.

    Raises:
        RuntimeError: wrk failed or reported nothing.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url]
    environ = os.environ | {"KONSUL_BENCH_HEADER": header}
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=seconds + 30, check=False
    )
    try:
        return read(done.stdout)
    except (AttributeError, ValueError) as error:
        raise RuntimeError(f"wrk reported nothing useful:\n{done.stdout}{done.stderr}") from error


def read(report: str) -> Load:
    """Reads what wrk prints."""
    total = _find(r"(\d+) requests in ([\d.]+)(us|ms|s|m),", report)
    answers = re.search(r"Non-2xx or 3xx responses: (\d+)", report)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", report)
    bad = int(answers[1]) if answers else 0
    bad += sum(int(number) for number in broken.groups()) if broken else 0
    seconds = float(total[2]) * _UNITS_MS[total[3]] / 1_000
    return Load(int(total[1]), seconds, _percentile(report, "50"), _percentile(report, "99"), bad)


def _percentile(report: str, percent: str) -> float:
    found = _find(rf"\b{percent}%\s+([\d.]+)(us|ms|s|m)\b", report)
    return float(found[1]) * _UNITS_MS[found[2]]


def _find(pattern: str, report: str) -> re.Match[str]:
    found = re.search(pattern, report)
    if found is None:
        raise ValueError(pattern)
    return found
