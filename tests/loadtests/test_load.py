"""A few seconds of locust with every kind of user, in a process of its own: locust patches the sockets of
its process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def loaded(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "loadtests", *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)


def test_every_kind_of_user_without_a_failure(tmp_path: Path) -> None:
    ended = loaded("--users", "12", "--seconds", "8", "--reports", str(tmp_path))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert " 0 failures, locust's exit code 0; report " in ended.stdout
    assert sorted(file.suffix for file in tmp_path.iterdir() if "_" not in file.name) == [".html", ".json"]
    assert next(tmp_path.glob("*_stats.csv")).stat().st_size > 0
    for route in ("/kv/{key}", "/batch/kv/set", "/transaction", "/services/query", "/heartbeat/{name}"):
        assert route in ended.stdout
    for way in ("kv watch, SSE", "kv watch, WebSocket", "kvChanged, GraphQL"):
        assert f"EVENT {way}" in ended.stdout
    assert "VERIFY" not in ended.stdout


@pytest.mark.parametrize("shape", ["steps", "spike"])
def test_shapes_end(shape: str) -> None:
    source = f"""
import os
os.environ["KONSUL_LOAD_SHAPE"] = {shape!r}
from loadtests import locustfile
kind = next(v for k, v in vars(locustfile).items() if k in ("Steps", "Spike"))
one = kind()
one.get_run_time = lambda: 0
assert one.tick()[0] > 0
one.get_run_time = lambda: 61
assert one.tick() is None
"""
    subprocess.run([sys.executable, "-c", source], cwd=ROOT, check=True)


def test_a_server_that_is_gone_is_a_failure(tmp_path: Path) -> None:
    args = ("--host", "http://127.0.0.1:1", "--kinds", "kv", "--users", "1", "--seconds", "2")
    ended = loaded(*args, "--reports", str(tmp_path))
    assert ended.returncode == 1


def test_unknown_kinds_are_misuse() -> None:
    ended = loaded("--kinds", "kv,none")
    assert ended.returncode == 2
    assert "unknown kinds none" in ended.stderr
