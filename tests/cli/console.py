"""One command line of konsulctl in this process."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from konsul.cli.main import run


@dataclass(frozen=True)
class Said:
    """What a command line came to."""

    code: int
    output: bytes
    errors: str

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.output.decode()

    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.output)


class Console:
    """Runs command lines; standard input is empty unless given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[bytes]) -> None:
        self._monkeypatch = monkeypatch
        self._capture = capture

    def __call__(self, *args: str, stdin: bytes = b"") -> Said:
        with self._monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            self._capture.readouterr()
            code = run(list(args))
            sys.stdout.flush()
            sys.stderr.flush()
            output, errors = self._capture.readouterr()
        return Said(code, output, errors.decode())

    def ok(self, *args: str, stdin: bytes = b"") -> Said:
        """Runs a command line that must succeed without a word on standard error."""
        said = self(*args, stdin=stdin)
        assert (said.code, said.errors) == (0, ""), said
        return said
