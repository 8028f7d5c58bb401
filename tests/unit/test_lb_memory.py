"""What a node keeps between selections: bounded, never older than the tables; what it is told is checked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from konsul.engine import Caller
from konsul.errors import Invalid
from konsul.features.lb.asked import PLAIN
from konsul.features.lb.loads import Report
from konsul.features.lb.pools import Kept, Pool
from konsul.features.lb.rules import NOTHING, document_of, packed, read, rules_of
from konsul.features.lb.splits import REST
from konsul.features.lb.spreading import PER_MESSAGE, Outbox, Spreading
from konsul.features.lb.strategies import share_of
from tests.unit.test_balancing import candidate


def test_what_is_kept_is_good_at_one_index_only() -> None:
    kept: Kept[str] = Kept(10)
    assert kept.get(7, "a") is None
    kept.put(7, "a", "of 7", 1)
    assert kept.get(7, "a") == "of 7"
    assert kept.get(8, "a") is None
    # Made at 7 and finished after the index moved on: nobody is given it.
    kept.put(7, "a", "late", 1)
    assert kept.get(8, "a") is None
    assert kept.get(7, "a") is None


def test_what_is_kept_is_bounded_and_the_longest_unused_goes() -> None:
    kept: Kept[str] = Kept(10)
    kept.get(1, "first")
    for name in "abc":
        kept.put(1, name, name, 4)
        kept.get(1, "a")
    assert (len(kept), kept.get(1, "b"), kept.get(1, "a"), kept.get(1, "c")) == (8, None, "a", "c")
    kept.put(1, "big", "big", 11)
    assert kept.get(1, "big") is None
    nothing: Kept[str] = Kept(0)
    nothing.get(1, "a")
    nothing.put(1, "a", "a", 1)
    assert nothing.get(1, "a") is None


def test_parts_of_a_pool() -> None:
    found = [
        candidate("a", tags=("next",), zone="x"),
        candidate("b", meta={"k": "v"}, zone="x"),
        candidate("c", zone="y"),
    ]
    pool = Pool(found)
    shares = rules_of(
        {"rules": [{"name": "one", "tags": ["next"]}, {"name": "two", "meta": {"k": "v"}}]}, 16
    ).shares
    parts = {name: [one.name for one in pool.part(shares, name).found] for name in ("one", "two", REST)}
    assert parts == {"one": ["a"], "two": ["b"], REST: ["c"]}
    assert [one.name for one in pool.zone("x", inside=True).found] == ["a", "b"]
    assert [one.name for one in pool.zone("x", inside=False).found] == ["c"]
    assert pool.part(shares, "one") is pool.part(shares, "one")
    kept = len(pool._parts)
    for number in range(500):
        assert not pool.zone(f"nobody's {number}", inside=True).found
        assert not pool.tagged(f"nobody's {number}").found
    assert len(pool._parts) == kept
    for number in range(500):
        pool.zone(f"nobody's {number}", inside=False)
    assert len(pool._parts) <= 64
    assert [one.name for one in pool.without(found[1]).found] == ["a", "c"]
    assert (pool.only_service(), Pool(found[:1]).only_service(), Pool([]).only_service()) == (None, "a", None)
    assert Pool([candidate("web", "1"), candidate("web", "2")]).only_service() == "web"


def test_a_warnings_weight_is_its_own_or_a_part_of_its_weight() -> None:
    assert share_of({"weight": "4"}, is_warned=False, warned_percent=10) == 400
    assert share_of({"weight": "4"}, is_warned=True, warned_percent=10) == 40
    assert share_of({"weight": "4", "weight_warning": "2"}, is_warned=True, warned_percent=10) == 200
    assert share_of({}, is_warned=True, warned_percent=100) == 100


def test_rules_of_a_newer_version_are_read_as_far_as_they_are_known() -> None:
    stored = b'{"strategy":"random","retries":{"most":3}}'
    assert document_of(read(stored)) == {"strategy": "random"}
    assert read(packed(NOTHING)) == NOTHING
    assert document_of(NOTHING) == {}
    assert PLAIN.limit is None


def test_the_outbox_holds_the_newest_of_each_and_no_more_than_it_may() -> None:
    outbox = Outbox(2)
    assert outbox.put(Report(b"a a", "c", 1))
    assert outbox.put(Report(b"a b", "c", 1))
    assert not outbox.put(Report(b"a c", "c", 1))
    assert outbox.put(Report(b"a a", "c", 9, 1.5))
    assert len(outbox) == 2
    taken = outbox.take()
    assert [one[:4] for one in taken] == [[b"a a", "c", 9, 1.5], [b"a b", "c", 1, None]]
    assert all(one[4] >= 0 for one in taken)
    assert len(outbox) == 0


class _Node:
    """A node of which only the ears are needed."""

    def __init__(self) -> None:
        self.taken: list[Report] = []

    def take(self, report: Report) -> None:
        self.taken.append(report)


def heard(body: dict[str, Any]) -> list[Report]:
    node = _Node()
    spreading = Spreading.__new__(Spreading)
    spreading._loads = node  # type: ignore[assignment]
    assert asyncio.run(spreading._hear(Caller(1, ""), body)) == {}
    return node.taken


def test_reports_of_other_nodes_are_taken_as_old_as_they_are() -> None:
    assert heard({"reports": [[b"a a", "c", 3, None, 0.5], [b"a b", "d", None, 7, 2]]}) == [
        Report(b"a a", "c", 3, None, 0.5),
        Report(b"a b", "d", None, 7, 2.0),
    ]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"reports": {}},
        {"reports": [[b"a a", "c", 3, None, 0.5]] * (PER_MESSAGE + 1)},
        {"reports": [[b"a a", "c", 3, None]]},
        {"reports": [["a a", "c", 3, None, 0]]},
        {"reports": [[b"a a", b"c", 3, None, 0]]},
        {"reports": [[b"a a", "c", -3, None, 0]]},
        {"reports": [[b"a a", "c", 3.5, None, 0]]},
        {"reports": [[b"a a", "c", 3, float("nan"), 0]]},
        {"reports": [[b"a a", "c", 3, None, float("inf")]]},
        {"reports": [[b"a" * 2_000, "c", 3, None, 0]]},
        {"reports": [[b"a a", "c" * 2_000, 3, None, 0]]},
        {"reports": [[b"a a", "c", 1, None, 0], None]},
    ],
)
def test_what_is_no_report_is_refused_whole(body: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        heard(body)
