"""A server under load as a child process: started, waited for, measured from outside, stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

READY_S = 60.0
STOP_S = 20.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Served:
    """One process. `command` and `environ` say how to start it, `ready` when it serves."""

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str], log: Path, ready: Callable[[], bool]
    ) -> None:
        self._command = command
        self._environ = environ
        self._log = log
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def _pid(self) -> int:
        if self._process is None:
            raise RuntimeError("not started")
        return self._process.pid

    def __enter__(self) -> Self:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("KONSUL_")}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                # Its port would be the same for every server; who measures DNS turns it on.
                env=kept | {"KONSUL_DNS_ENABLED": "false"} | dict(self._environ),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        end = time.monotonic() + READY_S
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > end:
                self._stop()
                tail = self._log.read_text(errors="replace")[-2_000:]
                sys.exit(f"{self._command[0]} did not become ready; the end of its log:\n{tail}")
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_S)

    def kill_and_start(self) -> float:
        """SIGKILL, then a new process on the same data; returns the seconds until that one is ready."""
        if self._process is None:
            raise RuntimeError("not started")
        self._process.kill()
        self._process.wait(STOP_S)
        begun = time.monotonic()
        self.__enter__()
        return time.monotonic() - begun

    def cpu_s(self) -> float:
        """User and system time of all its threads so far."""
        return cpu_s(self._pid)

    def rss_mb(self) -> float:
        """Resident memory, pages of mapped files among it."""
        return self._status_mb("VmRSS:")

    def private_mb(self) -> float:
        """Resident memory that no file backs: what the system cannot take back by itself."""
        return self._status_mb("RssAnon:")

    def _status_mb(self, name: str) -> float:
        for line in Path(f"/proc/{self._pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1_024
        return 0.0


def cpu_s(pid: int) -> float:
    """User and system time of a process so far, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(url: str) -> Callable[[], bool]:
    """True when a GET of `url` is answered with 200."""

    def asked() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as reply:  # noqa: S310 - our own loopback address
                return bool(reply.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    return asked


def send(method: str, url: str, body: bytes, content_type: str = "application/json") -> bytes:
    """One request; raises OSError for any answer but 2xx."""
    headers = {"Content-Type": content_type}
    request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - our own address
    with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310 - our own loopback address
        answer: bytes = reply.read()
        return answer
