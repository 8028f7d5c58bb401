"""While health and weights change under load: nobody is sent to an instance that is critical for sure."""

from __future__ import annotations

from collections import Counter

import httpx
import pytest

from tests.conftest import LiveServer
from tests.doors.under_change import STEADY, UnderChange

CHANGES = 24


def test_who_was_said_to_be_critical_is_answered_nobody_any_more(
    http: httpx.Client, server: LiveServer, space: str
) -> None:
    story = UnderChange({"it": server.base_url}, space, clients_per_node=3)
    story.run(CHANGES)
    assert {one.status for one in story.seen} == {200}
    assert story.wrong() == []
    assert story.asked_while_out("it") >= CHANGES * 11
    # Those that came back were chosen again, by every way of asking.
    by_path: dict[str, set[str]] = {}
    for one in story.seen:
        by_path.setdefault(one.path, set()).update(one.ids)
    assert set(by_path) == set(story.paths())
    assert by_path[f"/services/{space}/instances?passing=true"] == {STEADY, *story.instances}
    assert by_path[f"/lb/service/{space}?session=s&strategy=round-robin"] == {STEADY, *story.instances}


@pytest.mark.parametrize("weights", [(1, 1, 2), (5, 1, 1), (1, 3, 6)])
def test_a_weight_counts_from_the_answer_on(
    http: httpx.Client, server: LiveServer, space: str, weights: tuple[int, int, int]
) -> None:
    names = (STEADY, "a", "b")
    story = UnderChange({"it": server.base_url}, space, names[1:])
    for each in ((9, 9, 9), weights):
        for instance, weight in zip(names, each, strict=True):
            story.register(instance, weight)
            story.report(0, instance, "pass")
    path = f"/lb/service/{space}?strategy=weighted-round-robin"
    ids = [http.get(path).json()["service"]["id"] for _ in range(4 * sum(weights))]
    expected = {instance: 4 * weight for instance, weight in zip(names, weights, strict=True)}
    assert Counter(ids) == expected
