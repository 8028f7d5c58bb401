"""The arithmetic of a graph of services, against graphs made up by Hypothesis."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konsul.features.dependencies import shape

SHOP = {"web": ["api", "cart"], "api": ["db"], "cart": ["db", "cache"]}
NAMES = st.sampled_from([f"s{number}" for number in range(8)])
GRAPHS = st.dictionaries(NAMES, st.lists(NAMES, unique=True, max_size=4), max_size=8)


def below(graph: Mapping[str, list[str]]) -> shape.Neighbours:
    return lambda name: graph.get(name, [])


def walked(graph: Mapping[str, list[str]], name: str) -> set[str]:
    """What is reached, by the plainest way there is."""
    found: set[str] = set()
    rest = list(graph.get(name, []))
    while rest:
        one = rest.pop()
        if one not in found:
            found.add(one)
            rest += graph.get(one, [])
    return found


@pytest.mark.parametrize(
    ("name", "needed", "way"),
    [
        ("db", ["web"], "db -> web -> api -> db"),
        ("db", ["cart"], "db -> cart -> db"),
        ("db", ["web", "api"], "db -> api -> db"),
        ("new", ["new"], "new -> new"),
    ],
)
def test_a_cycle_is_named_by_its_shortest_way(name: str, needed: list[str], way: str) -> None:
    found = shape.cycle(name, needed, below(SHOP))
    assert found is not None
    assert shape.told(found) == way


def test_what_closes_no_cycle_is_none() -> None:
    assert shape.cycle("web", ["db", "cache", "absent"], below(SHOP)) is None
    assert shape.cycle("edge", ["web"], below(SHOP)) is None


@given(GRAPHS, NAMES, st.lists(NAMES, max_size=3))
def test_a_cycle_is_found_exactly_when_there_is_one(
    graph: dict[str, list[str]], name: str, added: list[str]
) -> None:
    way = shape.cycle(name, added, below(graph))
    together = {**graph, name: added}
    assert (way is not None) == (name in walked(together, name))
    if way is not None:
        assert way[0] == way[-1] == name
        assert all(other in together.get(one, []) for one, other in pairwise(way))
        assert len(set(way)) == len(way) - 1


def test_a_long_cycle_is_cut_in_the_middle_and_hidden_names_are_not_told() -> None:
    chain = {f"s{number}": [f"s{number + 1}"] for number in range(5_000)}
    way = shape.cycle("s5000", ["s0"], below(chain))
    assert way is not None
    assert len(way) == 5_002
    told = shape.told(way)
    assert told.startswith("s5000 -> s0 -> s1 ")
    assert told.endswith(" -> s4999 -> s5000")
    assert "(4986 more)" in told
    assert shape.told(("a", "b", "a"), lambda name: name == "a") == "a -> (hidden) -> a"


@given(GRAPHS, NAMES)
def test_reach_is_everything_at_its_least_distance(graph: dict[str, list[str]], name: str) -> None:
    found = shape.reach(name, below(graph))
    assert set(found) == walked(graph, name) - {name}
    for one, depth in found.items():
        before = [at for at, needed in graph.items() if one in needed and at in {name, *found}]
        assert depth == min(0 if at == name else found[at] for at in before) + 1
    assert list(found) == sorted(found, key=lambda one: (found[one], one))


@given(GRAPHS)
def test_order_puts_every_service_after_what_it_needs(graph: dict[str, list[str]]) -> None:
    ordered = shape.order(graph)
    place = {name: number for number, name in enumerate(ordered)}
    circular = {name for name in graph if name in walked(graph, name)}
    everything = set(graph) | {one for needed in graph.values() for one in needed}
    assert set(ordered) == {one for one in everything if not circular & (walked(graph, one) | {one})}
    assert len(place) == len(ordered)
    for name in ordered:
        assert all(place[one] < place[name] for one in graph.get(name, []))


def test_depth_is_the_longest_chain() -> None:
    edges = {"web": ["api", "db"], "api": ["db"], "db": ["disk"]}
    assert shape.depths(edges) == {"disk": 0, "db": 1, "api": 2, "web": 3}
    assert shape.order(edges) == ["disk", "db", "api", "web"]


def test_graphviz_text_is_escaped() -> None:
    text = shape.dot([("a", "passing"), ('b"];evil\\', "absent")], [("a", 'b"];evil\\')])
    assert text.splitlines() == [
        "digraph services {",
        "  rankdir=LR;",
        "  node [shape=box, style=filled];",
        '  "a" [label="a\\npassing", fillcolor="palegreen"];',
        '  "b\\"];evil\\\\" [label="b\\"];evil\\\\\\nabsent", fillcolor="lightgray"];',
        '  "a" -> "b\\"];evil\\\\";',
        "}",
    ]
