"""A real Konsul server as a child process: started, waited for, killed, read after its end."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.waiting import until

READY_S = 60.0
STOP_S = 30.0


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """One server on `data_dir`. `settings`: `KONSUL_*` variables; `before`: put in front of the command;
    `module`: what is run."""

    def __init__(
        self,
        data_dir: Path,
        settings: Mapping[str, str] | None = None,
        *,
        before: tuple[str, ...] = (),
        log: Path | None = None,
        module: str = "konsul.server",
    ) -> None:
        self.data_dir = data_dir
        self.host = "127.0.0.1"
        self.port = free_port()
        self.settings = dict(settings or {})
        self.before = before
        self.module = module
        self.python = sys.executable
        """The interpreter that runs it."""
        self.log = log or data_dir.with_name(f"{data_dir.name}-{self.port}.log")
        self.process: subprocess.Popen[bytes] | None = None
        self.context: ssl.SSLContext | None = None
        """How to speak to a server with TLS."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def launch(self) -> None:
        """Starts the process and does not wait for it."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("KONSUL_")}
        own = {
            "KONSUL_HOST": self.host,
            "KONSUL_PORT": str(self.port),
            "KONSUL_DATA_DIR": str(self.data_dir),
            # Its port would be the same for every server; who tests DNS turns it on.
            "KONSUL_DNS_ENABLED": "false",
            "PYTHONUNBUFFERED": "1",
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.before, self.python, "-m", self.module],
                env=kept | own | self.settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def start(self) -> None:
        """Starts the process and waits until it is ready.

        Raises:
            AssertionError: it ended, or was not ready in time; holds the end of its log.
        """
        self.launch()
        until(self._ready_or_gone, f"the server on port {self.port}", READY_S)
        if not self.running():
            raise AssertionError(f"the server ended with {self.exit_status()}:\n{self.output()[-4000:]}")

    def _ready_or_gone(self) -> bool:
        return not self.running() or self.status_of("/health/ready") == 200

    def status_of(self, path: str) -> int | None:
        """The status a GET is answered with, None without a connection."""
        connection: http.client.HTTPConnection
        if self.context is None:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=5)
        else:
            connection = http.client.HTTPSConnection(self.host, self.port, timeout=5, context=self.context)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def exit_status(self) -> int | None:
        """The exit status of a process that ended; waits for one that is about to."""
        assert self.process is not None
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            return None

    def refused(self) -> int | None:
        """Starts the process and returns the exit status with which it refuses; None if it serves instead."""
        self.launch()
        try:
            return self.exit_status()
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL: no farewell, nothing flushed."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(STOP_S)

    def stop(self) -> int | None:
        """SIGTERM, and the exit status of the graceful stop."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.exit_status()

    def output(self) -> str:
        """Everything the server printed so far, over all its starts."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""
