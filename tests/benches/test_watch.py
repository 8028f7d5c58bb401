"""The bench of watchers, small."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benches.watch.exact import KEYS_EACH, WRITERS, compared, key, matches, pattern
from benches.watch.fanout import spread
from benches.watch.listening import Told
from benches.watch.stuck import AGAIN, FLOOD, end_of, resumed
from benches.watch.writing import Acked

ROOT = Path(__file__).resolve().parents[2]
SMALL = "--watchers 60 --some 40 --writes 5 --rate 200 --seconds 3"
RUN_MAX_S = 110


@pytest.mark.parametrize("case", ["fanout", "memory", "exact", "stuck"])
def test_a_case_in_short_finds_nothing_wrong(case: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benches.watch", "--cases", case, *SMALL.split()]
    ended = subprocess.run(
        [*command, "--reports", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"KONSUL_BENCH_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=RUN_MAX_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"- **{case}**: " in (tmp_path / "watch.md").read_text()


def told(watcher: int, index: int, name: str, kind: str = "set", at_ms: int = 0) -> Told:
    return Told(watcher, kind, index, at_ms * 1_000_000, name)


def test_a_sequence_that_differs_from_the_log_is_named() -> None:
    log = [[(1, "set", "a"), (2, "set", "b"), (2, "set", "c"), (3, "delete", "a")]]
    right = [told(0, 1, "a"), told(0, 2, "c"), told(0, 2, "b"), told(0, 3, "a", "delete")]
    assert compared(log, right) == []
    assert compared(log, [*right, told(0, 7, "behind", "behind")]) == []
    wrongs = (
        right[:-1],
        [*right, right[-1]],
        [right[3], *right[:3]],
        [*right[:3], told(0, 3, "a", "set")],
        [*right, told(0, 4, "z")],
    )
    for wrong in wrongs:
        assert len(compared(log, wrong)) == 1


def test_a_write_that_misses_a_watcher_or_comes_twice_is_counted() -> None:
    acked = [Acked(5, 0, 2_000_000), Acked(6, 0, 2_000_000)]
    right = [told(who, index, "k", at_ms=1 + who) for who in range(3) for index in (5, 6)]
    found = spread(acked, right, range(3))
    assert (found.wrong, found.first_median, found.last_median) == (0, 1.0, 3.0)
    assert spread(acked, right[:-1], range(3)).wrong == 1
    assert spread(acked, [*right, right[0]], range(3)).wrong == 1
    assert spread(acked, [*right, told(1, 9, "k")], range(3)).wrong == 1


def test_what_a_stuck_reader_missed_is_lost_unless_it_was_told() -> None:
    flood = [told(0, number, f"{AGAIN}/{number:04}") for number in range(FLOOD)]
    assert resumed([*flood[:9], told(0, 9, "", "behind"), *flood[9:]], 0).endswith("all in order")
    assert "LOST" in resumed(flood[:-1], 0)
    assert "LOST" in resumed([*flood[1:], flood[0]], 0)
    assert resumed([told(0, 9, "", "compacted"), *flood[9:]], 0).endswith("said that it is not all")
    closed = [*flood[:3], told(0, 1008, "write timeout", "close"), told(0, 0, "", "eof")]
    assert end_of(closed, 0) == "sse after 3 events: close 1008 write timeout, eof"
    assert end_of(closed[:-1], 0).endswith("LEFT OPEN")


def test_the_patterns_differ_and_match_what_the_spec_says() -> None:
    assert len({pattern(number) for number in range(1_000)}) == 1_000
    names = [key(number) for number in range(WRITERS * KEYS_EACH)]
    assert len(set(names)) == len(names)
    assert all(any(matches(pattern(number), name) for name in names) for number in range(1_000))
    for wanted, name, expected in (
        ("app/*", "app/x", True),
        ("app/*", "app/x/y", False),
        ("app/**", "app/x/y", True),
        ("app/**", "app", False),
        ("a?/[0-4]x", "ab/3x", True),
        ("a?/[0-4]x", "ab/7x", False),
        ("a.c", "abc", False),
    ):
        assert matches(wanted, name) is expected
