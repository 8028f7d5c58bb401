"""The processes of the shop: started, asked for their ports, ended by id."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from deploy.shop.plan import NEEDS, Instance

STOP_S = 10.0


class Crew:
    """The running servers. As a context manager it leaves none behind."""

    def __init__(self, konsul: str) -> None:
        self._konsul = konsul
        self._processes: dict[Instance, subprocess.Popen[str]] = {}
        self.ports: dict[Instance, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, instances: Iterable[Instance]) -> None:
        """Starts them all, then waits until each says where it listens. Raises RuntimeError if one does
        not."""
        for one in instances:
            command = [sys.executable, "-m", "deploy.shop.serving"]
            for name in ("service", "id", "version", "zone"):
                command += [f"--{name}", getattr(one, name)]
            self._processes[one] = subprocess.Popen(  # noqa: S603 - our own program, no shell
                [*command, "--konsul", self._konsul, "--needs", *NEEDS[one.service]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        for one, process in self._processes.items():
            assert process.stdout is not None  # noqa: S101 - narrows for mypy
            word, _, port = process.stdout.readline().strip().partition(" ")
            if word != "ready":
                raise RuntimeError(f"{one.id} did not start")
            self.ports[one] = int(port)

    def url(self, instance: Instance) -> str:
        """Where an instance listens."""
        return f"http://127.0.0.1:{self.ports[instance]}"

    def stop(self) -> None:
        """SIGTERM to all, then SIGKILL to those that did not heed it in time."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
        self._processes.clear()
