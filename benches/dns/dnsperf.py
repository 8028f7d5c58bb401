"""Runs dnsperf and reads its report; https://www.dns-oarc.net/tools/dnsperf."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_SENT = re.compile(r"Queries completed:\s+(\d+)")
_LOST = re.compile(r"Queries lost:\s+(\d+)")
_RATE = re.compile(r"Queries per second:\s+([0-9.]+)")
_TOOK = re.compile(r"Average Latency \(s\):\s+([0-9.]+) \(min [0-9.]+, max ([0-9.]+)\)")
_CODES = re.compile(r"Response codes:\s+(.*)")


@dataclass(frozen=True)
class Load:
    """What one run saw. `codes`: such as `NOERROR 100 (100.00%)`."""

    completed: int
    lost: int
    per_second: float
    average_ms: float
    longest_ms: float
    codes: str

    @property
    def is_clean(self) -> bool:
        """True if every question was answered, with records."""
        return self.lost == 0 and self.codes.startswith("NOERROR") and "," not in self.codes


def need() -> None:
    """Makes sure that dnsperf is there: installs Debian's package if allowed to, else says what to do."""
    if shutil.which("dnsperf"):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "dnsperf"]
        subprocess.run(command, check=False, timeout=600)
    if not shutil.which("dnsperf"):
        sys.exit(
            "dnsperf is missing: install it (Debian, Ubuntu: sudo apt-get install dnsperf) and try again"
        )


def run(port: int, questions: Path, *, seconds: int = 0, transport: str = "udp", clients: int = 16) -> Load:
    """One run on one thread: on small machines more would only take the server's cores. Without `seconds`
    every question once.

    Raises:
        RuntimeError: dnsperf failed or reported nothing.
    """
    command = ["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(questions)]
    command += ["-l", str(seconds)] if seconds else ["-n", "1"]
    command += ["-c", str(clients), "-T", "1", "-q", "200", "-m", transport, "-e"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120, check=False)
    found = [pattern.search(done.stdout) for pattern in (_SENT, _LOST, _RATE, _TOOK, _CODES)]
    sent, lost, rate, took, codes = found
    if not (sent and lost and rate and took and codes):
        raise RuntimeError(f"dnsperf reported nothing useful:\n{done.stdout}{done.stderr}")
    return Load(
        int(sent[1]),
        int(lost[1]),
        float(rate[1]),
        float(took[1]) * 1e3,
        float(took[2]) * 1e3,
        codes[1].strip(),
    )
