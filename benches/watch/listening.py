"""Drives the listener: thousands of watchers in one small process written in C, and what each was told."""

from __future__ import annotations

import os
import resource
import select
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benches.served import cpu_s

SOURCE = Path(__file__).with_name("listener.c")
COMPILE_MAX_S = 60
READY_MAX_S = 120.0
STOP_MAX_S = 20.0
NOTICES = frozenset({"eof", "close", "behind", "compacted", "progress"})
"""What a watcher is told besides changes."""


@dataclass(frozen=True)
class Told:
    """One thing one watcher was told. `at_ns` is `time.monotonic_ns()` of the moment it was read; `index`
    is the change's modify_index, and of "close" the WebSocket's code, whose reason is `key` then."""

    watcher: int
    type: str
    index: int
    at_ns: int
    key: str


def compiled(folder: Path) -> Path:
    """The listener, compiled into `folder` with the C compiler that also builds the rest."""
    binary = folder / "listener"
    command = [os.environ.get("CC", "cc"), "-O2", "-o", str(binary), str(SOURCE)]
    subprocess.run(command, check=True, capture_output=True, timeout=COMPILE_MAX_S)
    return binary


def many_files() -> None:
    """As many open files as this process may have, for the processes it starts too: a connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def mixed(count: int, path: Callable[[int], str]) -> list[str]:
    """A plan of watchers, SSE and WebSocket in turn."""
    return [f"{('sse', 'ws')[number % 2]} {path(number)}" for number in range(count)]


class Listener:
    """The watchers of `plan`, all open while the context is. Each line of the plan is a kind and a path.

    Raises:
        RuntimeError: a watcher was refused, the listener ended, or something did not come in time.
    """

    def __init__(self, folder: Path, url: str, plan: Sequence[str]) -> None:
        self._folder = folder
        self._plan = folder / "listener.plan"
        self._plan.write_text("".join(f"{line}\n" for line in plan))
        self._port = url.rpartition(":")[2]
        self._count = len(plan)
        self._process: subprocess.Popen[bytes] | None = None
        self._pending = b""

    def __enter__(self) -> Self:
        binary = self._folder / "listener"
        self._process = subprocess.Popen(
            [str(binary if binary.exists() else compiled(self._folder)), self._port, str(self._plan)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            answered = self._line(READY_MAX_S)
            if answered != f"ready {self._count} 0":
                raise RuntimeError(f"{answered} of {self._count} watchers: {self._complaint()}")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def reached(self, events: int, within_s: float = 60.0) -> None:
        """Waits until all watchers together, but the stuck ones, were told `events` things."""
        self._ask(f"wait {events}", within_s)

    def cpu_s(self) -> float:
        """User and system time of the listener so far."""
        return 0.0 if self._process is None else cpu_s(self._process.pid)

    def unstick(self) -> None:
        """Lets the stuck readers read from now on."""
        self._say("unstick")

    def told(self) -> list[Told]:
        """Everything any watcher was told so far, in the order it was read."""
        file = self._folder / "listener.told"
        self._ask(f"dump {file}", 60.0)
        found = []
        for line in file.read_text(encoding="utf-8").splitlines():
            watcher, kind, index, at_ns, key = line.split("\t")
            found.append(Told(int(watcher), kind, int(index), int(at_ns), key))
        return found

    def _ask(self, command: str, within_s: float) -> str:
        self._say(command)
        return self._line(within_s)

    def _say(self, command: str) -> None:
        os.write(self._pipe("stdin"), f"{command}\n".encode())

    def _line(self, within_s: float) -> str:
        pipe = self._pipe("stdout")
        while b"\n" not in self._pending:
            if not select.select([pipe], [], [], within_s)[0]:
                raise RuntimeError(f"nothing from the listener for {within_s} s")
            read = os.read(pipe, 65_536)
            if not read:
                raise RuntimeError(f"the listener ended: {self._complaint()}")
            self._pending += read
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode()

    def _complaint(self) -> str:
        self._end()
        return os.read(self._pipe("stderr"), 4_000).decode(errors="replace") or "it said nothing"

    def _pipe(self, name: str) -> int:
        stream = getattr(self._process, name)
        if stream is None:
            raise RuntimeError("not started")
        number: int = stream.fileno()
        return number

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(STOP_MAX_S)
