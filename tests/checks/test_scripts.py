"""Script checks: programs of one directory."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from konsul.features.checks.outcome import Outcome
from tests.checks.targets import definition, executors


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
    path.chmod(0o755)


def run(folder: Path, *script: str, timeout: str = "10s") -> Outcome:
    async def once() -> Outcome:
        async with executors(scripts_enabled=True, script_dir=str(folder)) as made:
            return await made.run(definition("script", script=list(script), timeout=timeout))

    return asyncio.run(once())


@pytest.mark.parametrize(
    ("code", "expected"), [(0, "passing"), (1, "warning"), (2, "critical"), (77, "critical")]
)
def test_the_exit_status_decides(tmp_path: Path, code: int, expected: str) -> None:
    program(tmp_path, "ask", f"echo all is said; exit {code}")
    found = run(tmp_path, "ask")
    assert (found.status, found.output) == (expected, "all is said")


def test_output_of_both_streams_is_taken_and_without_any_the_status_is_told(tmp_path: Path) -> None:
    program(tmp_path, "both", "echo out; echo err >&2")
    program(tmp_path, "mute", "exit 3")
    assert run(tmp_path, "both").output == "out\nerr"
    assert run(tmp_path, "mute").output == "exit status 3"


def test_a_program_that_does_not_end_is_ended(tmp_path: Path) -> None:
    program(tmp_path, "slow", "exec sleep 600")
    found = run(tmp_path, "slow", timeout="200ms")
    assert found.status == "critical"
    assert found.output.endswith(": timeout")


def test_it_starts_with_a_clean_environment_in_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KONSUL_JWT_SECRET", "secret")
    program(tmp_path, "env", "env; pwd; cat; ls /proc/self/fd | wc -l")
    said = run(tmp_path, "env").output
    assert "secret" not in said
    names = {line.partition("=")[0] for line in said.splitlines() if "=" in line}
    assert names <= {"PATH", "LANG", "PWD", "OLDPWD", "SHLVL", "_"}
    assert str(tmp_path) in said


def test_off_unless_both_settings_are_on(tmp_path: Path) -> None:
    program(tmp_path, "ask", "exit 0")

    async def once() -> Outcome:
        async with executors(script_dir=str(tmp_path)) as made:
            return await made.run(definition("script", script=["ask"]))

    found = asyncio.run(once())
    assert found.status == "critical"
    assert "script checks are off on this node" in found.output
