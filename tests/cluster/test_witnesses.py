"""The comparison itself: it finds what is missing, twice, out of order or wrong, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from konsul.client import KeyValue, KvChange, Relisted
from tests.cluster.harness.witnesses import Change, compare

ENTRIES: dict[int, list[Change]] = {
    5: [("a", "1")],
    6: [("a", "2"), ("b", "2")],
    8: [("b", None)],
    9: [("a", "3")],
}


def told(index: int, key: str, value: str | None) -> KvChange:
    if value is None:
        return KvChange("delete", key, None, None, index, 0)
    return KvChange("set", key, value.encode(), None, index, 0)


def listed(index: int, **rows: tuple[int, str]) -> Relisted[KeyValue]:
    found = (KeyValue(key, value.encode(), modify_index=at) for key, (at, value) in rows.items())
    return Relisted("compacted", index, tuple(found))


A5, A6, B6, B8, A9 = (
    told(5, "a", "1"),
    told(6, "a", "2"),
    told(6, "b", "2"),
    told(8, "b", None),
    told(9, "a", "3"),
)


@pytest.mark.parametrize(
    ("since", "events"),
    [
        (4, [A5, A6, B6, B8, A9]),
        (5, [A6, B6, B8, A9]),
        (4, [A5, listed(6, a=(6, "2"), b=(6, "2")), B8, A9]),
        (4, [A5, A6, listed(8, a=(6, "2")), A9]),
        (4, [A5, listed(6, a=(6, "2")), B8, A9]),
        (4, [listed(8, a=(9, "3"))]),
        (9, []),
    ],
)
def test_what_is_right(since: int, events: list[Any]) -> None:
    compare("w", events, since, ENTRIES)


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([A5, A6, B6, B8], "never told"),
        ([A5, A6, B8, A9], "never told"),
        ([A5, A6, A6, B6, B8, A9], "told twice"),
        ([A5, B6, A6, A5, B8, A9], "came after 6"),
        ([A5, A6, B6, told(8, "b", "x"), A9], "never written"),
        ([A5, A6, B6, B8, A9, told(10, "a", "4")], "never written"),
        ([A5, listed(6, a=(5, "1"), b=(6, "2")), B8, A9], "in the listing"),
        ([A5, listed(8), A9], "a is missing in the listing"),
        ([A5, listed(8, a=(6, "2"), c=(7, "x")), A9], "nobody wrote"),
        ([A5, listed(8, a=(9, "3")), A9], "had it"),
        ([A5, A6, B6, listed(8, a=(6, "2")), B8, A9], "had it"),
    ],
)
def test_what_is_wrong(events: list[Any], words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        compare("w", events, 4, ENTRIES)
