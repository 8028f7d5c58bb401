"""The bench of the guarded pipeline, small."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benches.doors.guarded import RULES, Cost, policy, table

ROOT = Path(__file__).resolve().parents[2]


def test_the_bench_in_short_has_no_failed_request(tmp_path: Path) -> None:
    short = {"KONSUL_BENCH_PYTHON": sys.executable, "KONSUL_BENCH_SECONDS": "1", "KONSUL_BENCH_ROUNDS": "1"}
    ended = subprocess.run(
        [sys.executable, "-m", "benches.doors.guarded", "--reports", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | short,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for caller in ("open", "JWT", "API key", "JWT, searchable", "API key, searchable"):
        assert f"| GET one key | {caller} |" in ended.stdout
        assert f"| PUT one key | {caller} |" in ended.stdout


def test_the_rule_that_decides_is_the_last_of_a_thousand() -> None:
    rules = policy("bench")["kv"]
    assert isinstance(rules, list)
    assert len(rules) == RULES == 1_000
    assert [rule["path"] for rule in rules if "bench" in rule["path"]] == ["bench/**"]
    assert rules[-1]["path"] == "bench/**"


def test_the_table_says_what_the_guards_add() -> None:
    assert "| PUT one key | JWT | 30.0 | +4.0 | 20,000 | 0 |" in table(
        [Cost("PUT one key", "JWT", 30.0, 20_000.0, 4.0, 0)]
    )
