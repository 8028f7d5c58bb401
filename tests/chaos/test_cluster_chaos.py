"""The short form of the cluster run of `make chaos`, and the judge judged."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.chaos.cluster_run import run
from tests.chaos.history import Operation, judge, judge_program

SEED = 20261121
SECONDS = 20.0


@pytest.mark.timeout(1_200)
def test_a_cluster_under_all_faults_stays_linearizable_and_loses_nothing(tmp_path: Path) -> None:
    outcome = run(tmp_path, SECONDS, SEED, clients=6)
    assert outcome.problems == [], str(outcome)
    assert outcome.counts["put ok"] > 50, f"the clients hardly wrote: the run proves nothing: {outcome}"
    assert outcome.faults.total() > 3, str(outcome)


def written(tmp_path: Path, *operations: Operation) -> Path:
    path = tmp_path / "history.jsonl"
    path.write_text("".join(json.dumps(asdict(operation)) + "\n" for operation in operations))
    return path


PUT = Operation("a", "put", "k", arg="new", start_us=10, end_us=20, outcome="ok", index=5)
READ = Operation("b", "get", "k", start_us=30, end_us=40, outcome="ok", value="new", index=5)


@pytest.mark.timeout(1_200)
def test_the_judge_accepts_what_one_register_explains(tmp_path: Path) -> None:
    lost = Operation("c", "delete", "k", start_us=15)
    gone = Operation("b", "get", "k", start_us=50, end_us=60, outcome="ok")
    assert judge(judge_program(), written(tmp_path, PUT, READ, lost, gone)) is None


@pytest.mark.timeout(1_200)
def test_the_judge_sees_a_stale_read_and_a_lost_write(tmp_path: Path) -> None:
    stale = Operation("b", "get", "k", start_us=30, end_us=40, outcome="ok")
    assert judge(judge_program(), written(tmp_path, PUT, stale)) is not None
    older = Operation("b", "put", "k", arg="old", start_us=1, end_us=2, outcome="ok", index=3)
    back = Operation("c", "get", "k", start_us=30, end_us=40, outcome="ok", value="old", index=3)
    assert judge(judge_program(), written(tmp_path, older, PUT, back)) is not None
