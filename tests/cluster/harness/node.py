"""One member of a cluster as a child process."""

from __future__ import annotations

import http.client
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.ask import Answer, ask
from tests.cluster.harness.ports import steady_port
from tests.process import Server

ASK_S = 30.0
PROBE_S = 3.0
LOG_TAIL_LINES, LOG_LINE_MAX = 40, 500


class Node(Server):
    """One node: `name` is its node id, `raft_port` where it listens to its peers."""

    def __init__(self, name: str, folder: Path, settings: Mapping[str, str]) -> None:
        super().__init__(folder / name / "data", settings, log=folder / f"{name}.log")
        (folder / name).mkdir(parents=True, exist_ok=True)
        self.name = name
        self.port = steady_port()
        self.raft_port = steady_port()
        self.paused = False
        self.felled = False
        """Whether a test ended the process; it never ends by itself."""
        self.headers: dict[str, str] = {}
        """What `asked` sends along: the credentials of a test whose nodes want some."""

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        """The process, 0 without one."""
        return self.process.pid if self.process is not None and self.running() else 0

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = ASK_S,
    ) -> Answer:
        """One request over a connection of its own.

        Raises:
            OSError, http.client.HTTPException: no answer.
        """
        return ask(self.port, method, path, body, timeout_s, headers, self.host)

    def asked(self, method: str, path: str, body: object = None, timeout_s: float = PROBE_S) -> Answer | None:
        """As `ask`, None where there is no answer."""
        try:
            return self.ask(method, path, body, self.headers, timeout_s)
        except (OSError, http.client.HTTPException):
            return None

    def status(self) -> dict[str, Any] | None:
        """What `/cluster/status` says, None where the node does not answer it."""
        if not self.running() or self.paused:
            return None
        answer = self.asked("GET", "/cluster/status")
        return dict(answer.json()) if answer is not None and answer.status == 200 else None

    def is_ready(self) -> bool:
        return self.running() and not self.paused and self.status_of("/health/ready") == 200

    def is_alive(self) -> bool:
        """Whether it answers at all, member of a cluster or not."""
        return self.running() and not self.paused and self.status_of("/health/live") == 200

    def digest(self) -> tuple[int, str] | None:
        """The index of its tables and the digest of everything in them, None where it does not answer."""
        answer = self.asked("GET", "/cluster/digest")
        if answer is None or answer.status != 200:
            return None
        body = answer.json()
        return int(body["index"]), str(body["digest"])

    def launch(self) -> None:
        super().launch()
        self.paused = self.felled = False

    def pause(self) -> None:
        """SIGSTOP: connections stay, nothing moves."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        """SIGCONT. Harmless when it was not paused."""
        if self.process is not None and self.running():
            self.process.send_signal(signal.SIGCONT)
        self.paused = False

    def kill(self) -> None:
        self.felled = self.running() or self.felled
        super().kill()
        self.paused = False

    def stop(self) -> int | None:
        self.resume()
        self.felled = True
        return super().stop()

    def wipe(self) -> None:
        """Takes everything it ever stored. Only of a node that does not run."""
        assert not self.running(), f"{self.name} runs"
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        return "\n".join(line[:LOG_LINE_MAX] for line in self.output().splitlines()[-lines:])
