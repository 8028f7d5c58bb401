"""Same entries from the log, from a snapshot with a tail, and through the model: identical tables."""

from __future__ import annotations

import random
import select
import shutil
from pathlib import Path

import pytest

from konsul._core import Core, Replica
from konsul.engine import Options
from tests.model import model as m
from tests.model import world as w
from tests.model.test_oracle import assert_same_tables, outcome

ENTRIES = 400
WAIT_MS = 10_000
SEED = 20261121


def history(seed: int) -> list[bytes]:
    """Entries that do not look at the clock, for a node stamps its own time on what it is given."""
    rng = random.Random(seed)

    def one() -> bytes:
        key, session = f"k{rng.randrange(8)}", f"s{rng.randrange(4)}"
        behaviour = rng.choice(["release", "delete"])
        return rng.choice(
            [
                w.acquire(key, session, rng.randbytes(rng.randrange(40))),
                w.always(w.put(w.NODES, "n1", ["a", "b"]), w.put(w.CHECKS, "c1", "n1", None, "passing")),
                w.always(w.put(w.SESSIONS, session, "n1", ["c1"], behaviour, 0)),
                w.always(w.delete(w.SESSIONS, session)),
                w.always(w.patch(w.CHECKS, "c1", {2: rng.choice(["passing", "critical"])})),
                w.always(w.add(w.QUOTAS, "q", 0, 1, 20)),
                w.always(w.put(w.NAMES, key, rng.choice(["x", "y", "z"]))),
                w.always(w.put(w.EVENTS, w.THIS_INDEX, b"e")),
                w.always(w.delete_prefix(w.LOCKS, f"k{rng.randrange(8)}")),
                w.always(w.delete(w.NODES, "n1")),
            ]
        )

    return [one() for _ in range(ENTRIES)]


def without_delays() -> bytes:
    """The small world without what depends on the clock: nothing expires, no lock delay is written."""
    tables = w.tables()
    tables[w.SESSIONS - 1]["expires"] = None
    tables[w.DELAYS - 1]["expires"] = None
    for value_and_ops in tables[w.LOCKS - 1]["refs"][0]["then"]:
        del value_and_ops[1][-1]
    return w.schema(tables)


class Node:
    """A running core on `data_dir`, asked one thing at a time."""

    def __init__(self, data_dir: Path) -> None:
        self.core = Core(Options(data_dir=str(data_dir), segment_bytes=1 << 20).packed())
        self.core.start(without_delays())

    def answer(self, ticket: int) -> m.Answer:
        ready, _, _ = select.select([self.core.fileno()], [], [], WAIT_MS / 1000)
        assert ready, "no answer"
        ((found, status, index, number, text),) = self.core.reap(10)
        assert found == ticket
        return status, index, number, text

    def apply(self, entries: list[bytes]) -> list[m.Answer]:
        return [self.answer(self.core.commit(entry, WAIT_MS)) for entry in entries]

    def snapshot(self) -> None:
        assert self.answer(self.core.snapshot(WAIT_MS))[0] == m.APPLIED

    def stop(self) -> None:
        self.core.stop(WAIT_MS)


def restarted(data_dir: Path, *, forget_tables: bool) -> Node:
    """The node started again; without its tables it has to build them from snapshot and log."""
    if forget_tables:
        shutil.rmtree(data_dir / "state")
    return Node(data_dir)


@pytest.mark.parametrize(
    "snapshot_at", [None, ENTRIES // 2], ids=["the log alone", "a snapshot and its tail"]
)
def test_log_snapshot_and_model_lead_to_the_same_tables(tmp_path: Path, snapshot_at: int | None) -> None:
    entries = history(SEED)
    oracle = m.Model(without_delays())
    expected = [outcome(oracle.apply(0, entry)) for entry in entries]
    replica = Replica(without_delays())
    assert [outcome(replica.apply(0, entry)) for entry in entries] == expected

    node = Node(tmp_path / "data")
    answers = node.apply(entries[:snapshot_at])
    if snapshot_at is not None:
        node.snapshot()
        answers += node.apply(entries[snapshot_at:])
    assert [outcome(answer) for answer in answers] == expected
    assert node.core.digest() == replica.digest()
    node.stop()

    for forget_tables in (False, True):
        node = restarted(tmp_path / "data", forget_tables=forget_tables)
        assert node.core.digest() == replica.digest()
        node.stop()
    assert_same_tables(replica, oracle)
    assert {status for status, *_ in expected} >= {m.APPLIED, m.CONFLICT, m.DUPLICATE, m.LIMIT_REACHED}


def test_the_index_goes_on_after_a_restart(tmp_path: Path) -> None:
    node = Node(tmp_path / "data")
    (first,) = node.apply([w.always(w.put(w.NODES, "n1"))])
    assert first[:2] == (m.APPLIED, 1)
    node.apply([w.always(w.delete(w.NODES, "n1"))])
    node.stop()
    node = restarted(tmp_path / "data", forget_tables=True)
    (after,) = node.apply([w.always(w.put(w.NODES, "n1"))])
    node.stop()
    assert after[:2] == (m.APPLIED, 3), "the deleted row's index is not given out again"
