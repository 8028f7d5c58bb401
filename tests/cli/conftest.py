"""Fixtures of konsulctl's tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.console import Console
from tests.conftest import LiveServer


@pytest.fixture
def quiet_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment without the user's own settings; returns the file of profiles, which does not exist."""
    for name in list(os.environ):
        if name.startswith("KONSUL_") or name == "NO_COLOR":
            monkeypatch.delenv(name)
    path = tmp_path / "konsulctl.yaml"
    monkeypatch.setenv("KONSUL_CONFIG", str(path))
    return path


@pytest.fixture
def console(
    quiet_home: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Console:
    """konsulctl without a server."""
    return Console(monkeypatch, capfdbinary)


@pytest.fixture
def ctl(console: Console, server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> Console:
    """konsulctl with the module's server as its default."""
    monkeypatch.setenv("KONSUL_SERVER", server.base_url)
    return console
