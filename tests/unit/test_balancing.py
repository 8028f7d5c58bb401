"""The strategies of load balancing as functions, and that what a node remembers of them is bounded."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from konsul.features.catalog.candidates import Candidate
from konsul.features.lb import hashing, strategies
from konsul.features.lb.balancer import Asking, Balancer, Earnings, Rings, Turns, node_of
from konsul.features.lb.hashing import VIRTUAL_NODES
from konsul.features.lb.strategies import WEIGHT_MAX, Strategy

NAMES = st.lists(st.text("abcxyz-0123456789", min_size=1, max_size=12), min_size=2, max_size=6, unique=True)
WEIGHTS = st.dictionaries(st.binary(max_size=3), st.integers(1, 9), min_size=1, max_size=6)


def candidate(
    name: str,
    own_id: str | None = None,
    tags: tuple[str, ...] = (),
    meta: dict[str, str] | None = None,
    address: str = "h",
    zone: str = "",
    health: str = "passing",
) -> Candidate:
    cells = (name, own_id, address, 1, tags, meta or {}, None, None, None, zone, health, None)
    packed = bytes(16) + b"".join(msgpack.packb(cell) for cell in cells)
    return Candidate(f"{name} {own_id or name}".encode(), packed)


def chosen(balancer: Balancer, strategy: Strategy, found: list[Candidate], asking: Asking) -> str:
    return found[asyncio.run(balancer.choose(strategy, found, asking))].name


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"", 0xCBF29CE484222325), (b"a", 0xAF63DC4C8601EC8C), (b"foobar", 0x85944171F73967E8)],
)
def test_the_hash_is_fnv_1a_with_its_published_values(data: bytes, expected: int) -> None:
    assert hashing.fnv1a_64(data) == expected
    assert hashing.fnv1a_64(data[1:], hashing.fnv1a_64(data[:1])) == expected


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("3", 3),
        ("+3", 3),
        ("007", 7),
        ("0", 1),
        ("-3", 1),
        ("", 1),
        ("2.5", 1),
        ("three", 1),
        (" 3", 1),
        ("\u0663", 1),
        ("9" * 512, WEIGHT_MAX),
    ],
)
def test_a_weight_is_a_positive_integer_or_one(text: str, weight: int) -> None:
    assert strategies.weight_of({"weight": text}) == weight
    assert strategies.weight_of({}) == 1


@given(st.integers(1, 20), st.integers(0, 10**6), st.integers(1, 5))
def test_round_robin_gives_everyone_as_many_turns(count: int, start: int, rounds: int) -> None:
    turns = Counter(strategies.round_robin(count, start + turn)[0] for turn in range(count * rounds))
    assert turns == dict.fromkeys(range(count), rounds)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_least_connections_rotates_over_those_with_the_fewest(connections: list[int]) -> None:
    idle = {at for at, number in enumerate(connections) if number == min(connections)}
    turns = Counter(strategies.least_connections(connections, turn)[0] for turn in range(3 * len(idle)))
    assert turns == dict.fromkeys(idle, 3)


@given(WEIGHTS)
def test_smooth_gives_everyone_its_weight_in_each_full_round(weights: dict[bytes, int]) -> None:
    current: dict[bytes, int] = {}
    for _ in range(2):
        assert Counter(strategies.smooth(weights, current) for _ in range(sum(weights.values()))) == weights
        assert set(current.values()) == {0}


def test_smooth_spreads_the_heavy_ones_and_equals_take_turns() -> None:
    current: dict[str, int] = {}
    heavy = {"a": 5, "b": 1, "c": 1}
    assert "".join(strategies.smooth(heavy, current) for _ in range(7)) == "aabacaa"
    equal = dict.fromkeys("xyz", 4)
    assert "".join(strategies.smooth(equal, current) for _ in range(6)) == "xyzxyz"
    assert current.keys() == equal.keys()


def test_random_choices_follow_their_probabilities() -> None:
    rng = Random(7)
    even = Counter(strategies.uniform(4, rng)[0] for _ in range(8_000))
    assert all(1_800 < even[at] < 2_200 for at in range(4))
    heavy = Counter(strategies.weighted_random([1, 3], rng)[0] for _ in range(8_000))
    assert 5_800 < heavy[1] < 6_200
    assert strategies.weighted_random([WEIGHT_MAX] * 10_000, rng)[0] < 10_000


@given(st.integers(1, 50), st.ip_addresses())
def test_ip_hash_is_the_hash_modulo_the_number(count: int, address: object) -> None:
    assert hashing.ip_hash(count, str(address)) == [hashing.fnv1a_64(str(address).encode()) % count]


def test_a_node_has_its_virtual_nodes_by_number() -> None:
    expected = sorted(hashing.place_of(f"web:h:{number}") for number in range(VIRTUAL_NODES))
    assert list(hashing.ring_points("web:h")) == expected
    assert len(expected) == 150


@given(NAMES, st.text(max_size=20))
def test_the_ring_is_the_merged_ring_and_forgets_only_the_one_that_went(
    names: list[str], session: str
) -> None:
    rings = [hashing.ring_points(name) for name in names]
    place = hashing.place_of(session)
    merged = sorted((point, at) for at, ring in enumerate(rings) for point in ring)
    owner = next((at for point, at in merged if point >= place), merged[0][1])
    assert hashing.ring_hash(rings, session) == [owner]
    without = (owner + 1) % len(names)
    kept = names[:without] + names[without + 1 :]
    (again,) = hashing.ring_hash(rings[:without] + rings[without + 1 :], session)
    assert kept[again] == names[owner]


def test_sessions_spread_over_the_ring() -> None:
    rings = [hashing.ring_points(f"web-{number}:10.0.0.{number}") for number in range(3)]
    rng = Random(7)
    owners = Counter(hashing.ring_hash(rings, rng.randbytes(8).hex())[0] for _ in range(3_000))
    assert all(owners[at] > 300 for at in range(3))


def test_latency_without_measurements_prefers_the_first_in_the_region_else_anyone() -> None:
    balancer = Balancer(Random(7))
    found = [candidate("a", tags=("region:us",)), candidate("b", tags=("x", "region:eu"))]
    found.append(candidate("c", tags=("region:eu",)))
    assert chosen(balancer, Strategy.LATENCY_BASED, found, Asking("q", region="eu")) == "b"
    for region in ("", "asia"):
        asking = Asking("q", region=region)
        assert {chosen(balancer, Strategy.LATENCY_BASED, found, asking) for _ in range(100)} == set("abc")


@pytest.mark.parametrize("strategy", Strategy)
def test_every_strategy_chooses_the_only_candidate_and_one_of_many(strategy: Strategy) -> None:
    balancer = Balancer(Random(7))
    many = [candidate(name) for name in "abc"]
    assert chosen(balancer, strategy, [candidate("only")], Asking("q")) == "only"
    assert {chosen(balancer, strategy, many, Asking("q")) for _ in range(20)} <= set("abc")


def test_a_balancer_looks_at_what_the_strategy_asks_for() -> None:
    balancer = Balancer(Random(7))
    found = [candidate("a"), candidate("b", meta={"weight": "3"}), candidate("c", tags=("region:eu",))]
    asking = Asking("q", "10.0.0.9", region="eu")
    for strategy in (Strategy.ROUND_ROBIN, Strategy.LEAST_CONNECTIONS):
        assert {chosen(balancer, strategy, found, asking) for _ in range(3)} == set("abc")
    weighted = [chosen(balancer, Strategy.WEIGHTED_ROUND_ROBIN, found, asking) for _ in range(10)]
    assert Counter(weighted) == {"a": 2, "b": 6, "c": 2}
    assert chosen(balancer, Strategy.LATENCY_BASED, found, asking) == "c"
    by_address = chosen(balancer, Strategy.RING_HASH, found, asking)
    assert by_address == chosen(balancer, Strategy.RING_HASH, found, Asking("q", session="10.0.0.9"))


def test_instances_behind_one_address_have_points_of_their_own() -> None:
    assert node_of(candidate("web")) == "web:h"
    assert node_of(candidate("web", "2")) == "web/2:h"


def test_questions_rotate_by_themselves_and_the_oldest_is_forgotten() -> None:
    turns = Turns(most=2)
    assert [turns.take(group) for group in ("a", "b", "a", "b", "a")] == [0, 0, 1, 1, 2]
    assert turns.take("c") == 0
    assert (turns.take("a"), turns.take("b"), len(turns)) == (3, 0, 2)


def test_what_weights_have_earned_is_bounded() -> None:
    earnings = Earnings(most=5)
    for group in range(20):
        earnings.choose(group, dict.fromkeys((b"a", b"b"), 1))
    assert len(earnings) == 4
    assert earnings.choose(19, {b"a": 1, b"b": 1}) == b"b"
    earnings.choose("big", {bytes([n]): 1 for n in range(6)})
    assert len(earnings) == 0


def test_points_are_kept_for_those_asked_for_last() -> None:
    rings = Rings(most=3)
    nodes = [f"n{number}" for number in range(120)]
    found = asyncio.run(rings.of(nodes))
    assert found == [hashing.ring_points(node) for node in nodes]
    assert len(rings) == 3
