"""The short form of `make chaos`, and the judge judged: a record that never complains would prove nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.record import Record
from tests.chaos.run import run

SEED = 20261121


@pytest.mark.timeout(300)
def test_ten_kills_among_writers_break_no_promise(tmp_path: Path) -> None:
    outcome = run(tmp_path, kills=10, seed=SEED)
    assert outcome.problems == [], str(outcome)
    assert outcome.kills == 10
    assert outcome.acknowledged > 100, "the writers hardly wrote: the run proves nothing"


def written() -> Record:
    record = Record(groups={"pair": ["left", "right"]})
    for name in ("left", "right"):
        record.key(name).acknowledged("new", None)
    record.key("single").acknowledged("value", 7)
    record.index(7)
    return record


STORED = {"left": ("new", 8), "right": ("new", 8), "single": ("value", 7)}


def test_the_judge_accepts_what_was_acknowledged_and_what_was_open() -> None:
    record = written()
    record.compare(STORED)
    record.key("single").unknown("later")
    record.compare(STORED | {"single": ("later", 9)})
    record.index(10)
    assert record.problems == []


@pytest.mark.parametrize(
    ("stored", "complaint"),
    [
        ({**STORED, "single": ("older", 6)}, "acknowledged 'value'"),
        ({**STORED, "single": ("value", 9)}, "applied again"),
        ({**STORED, "stranger": ("x", 9)}, "nobody wrote it"),
        ({"left": ("new", 8), "right": ("new", 8)}, "acknowledged 'value'"),
        ({**STORED, "left": ("new", 9)}, "written in parts"),
    ],
)
def test_the_judge_sees_every_broken_promise(stored: dict[str, tuple[str, int]], complaint: str) -> None:
    record = written()
    record.compare(stored)
    assert any(complaint in problem for problem in record.problems), record.problems


def test_the_judge_sees_an_index_that_comes_again() -> None:
    record = written()
    record.index(7)
    assert "twice" in record.problems[0]
    record = written()
    record.compare(STORED)
    record.index(8)
    assert "after a restart" in record.problems[0]


def test_the_judge_counts_increments() -> None:
    record = Record(increments=3, increments_unknown=1)
    record.compare_counter(4)
    assert record.problems == []
    record.compare_counter(3)
    assert len(record.problems) == 1
