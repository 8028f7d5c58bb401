"""The bench of checks, small."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benches.checks.__main__ import LATE, latest

ROOT = Path(__file__).resolve().parents[2]
RUN_MAX_S = 110


def test_in_short_it_finds_nothing_wrong(tmp_path: Path) -> None:
    small = "--checks 60 --interval 1 --seconds 3 --reports"
    ended = subprocess.run(
        [sys.executable, "-m", "benches.checks", *small.split(), str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"KONSUL_BENCH_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=RUN_MAX_S,
        check=False,
    )
    assert "60 HTTP checks every 1 s" in (tmp_path / "checks.md").read_text(), ended.stdout + ended.stderr


def test_the_latest_is_the_bucket_that_holds_all() -> None:
    before = {f'{LATE}_bucket{{le="0.5"}}': 1.0, f'{LATE}_bucket{{le="1.0"}}': 2.0, f"{LATE}_count": 2.0}
    after = {f'{LATE}_bucket{{le="0.5"}}': 4.0, f'{LATE}_bucket{{le="1.0"}}': 5.0, f"{LATE}_count": 5.0}
    assert latest(before, after) == 0.5
    assert latest({}, after) == 1.0
