"""A client as a child process, and the lines it prints."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

WITHIN_S = 30.0
LINES_MAX = 100
"""Lines passed over while one is waited for: keep-alives come for ever."""


class Spoken:
    """Runs `command` while the context is open. Every line it prints can be waited for."""

    def __init__(self, command: Sequence[str], folder: Path | None = None) -> None:
        self._command = command
        self._folder = folder
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.heard: list[str] = []
        """Every line taken so far."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait(WITHIN_S)
        self._listening.join(WITHIN_S)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\r\n"))
        self._lines.put(None)

    def line(self) -> str:
        """The next line.

        Raises:
            AssertionError: there is none within WITHIN_S, or the client has ended.
        """
        try:
            found = self._lines.get(timeout=WITHIN_S)
        except queue.Empty:
            found = None
        assert found is not None, f"{self._command[0]} says no more than {self.heard}"
        self.heard.append(found)
        return found

    def until(self, holds: Callable[[str], bool]) -> str:
        """The next line for which that holds; those before it are left out."""
        for _ in range(LINES_MAX):
            if holds(line := self.line()):
                return line
        raise AssertionError(f"{self._command[0]} says much, but not that: {self.heard[-20:]}")

    def hear(self, what: str) -> Any:
        """The content of the next line of JSON `{"what":what,"content":..}`; an "error" or words that are no
        JSON are not passed over."""
        for _ in range(LINES_MAX):
            line = self.line()
            try:
                said = json.loads(line)
            except ValueError:
                raise AssertionError(f"{line!r} after {self.heard}") from None
            if said["what"] == what:
                return said.get("content")
            assert said["what"] != "error", self.heard
        raise AssertionError(f"{self._command[0]} tells of no {what}: {self.heard[-20:]}")

    def heard_of(self, what: str) -> bool:
        """Whether the next line not taken yet is of that kind; takes what it said before and is not."""
        while not self._lines.empty():
            line = self._lines.queue[0]
            if line is None or json.loads(line)["what"] in (what, "error"):
                return True
            self.line()
        return False
