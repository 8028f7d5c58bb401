"""Every strategy gives each instance its share: exactly where it goes by turns, else by chi-square."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Mapping
from random import Random

import pytest

from konsul.features.catalog.candidates import Candidate
from konsul.features.lb import hashing
from konsul.features.lb.balancer import Asking, Balancer
from konsul.features.lb.hashing import BASIS, point_of
from konsul.features.lb.latency import averaged
from konsul.features.lb.loads import CHECKS, Loads, Report
from konsul.features.lb.pools import Pool
from konsul.features.lb.splits import REST, Share, share_at, whole
from konsul.features.lb.strategies import Strategy
from konsul.features.lb.zones import stays_of
from tests.unit.chi_square import critical, follows, statistic
from tests.unit.test_balancing import candidate

SEED = 20261122


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def fleet(count: int) -> list[Candidate]:
    return [candidate("web", f"i{number}", address=f"10.0.0.{number}") for number in range(count)]


def weighted(weights: Mapping[str, int]) -> list[Candidate]:
    return [candidate(name, meta={"weight": str(weight)}) for name, weight in weights.items()]


def sequence(
    balancer: Balancer, strategy: Strategy, found: list[Candidate], times: int, asking: Asking | None = None
) -> list[int]:
    pool = Pool(found)

    async def choose() -> list[int]:
        return [(await balancer.order(strategy, pool, asking or Asking("q")))[0] for _ in range(times)]

    return asyncio.run(choose())


def letters(balancer: Balancer, strategy: Strategy, found: list[Candidate], times: int) -> str:
    return "".join(found[at].name for at in sequence(balancer, strategy, found, times))


def test_the_yardstick_measures() -> None:
    even = dict.fromkeys(range(10), 0.1)
    # From the tables: 9 degrees of freedom, one in ten thousand, 33.72.
    assert abs(critical(9) - 33.72) < 0.5
    assert statistic({0: 60, 1: 40}, {0: 0.5, 1: 0.5}) == 4.0
    rng = Random(SEED)
    assert follows(Counter(rng.randrange(10) for _ in range(20_000)), even)
    assert not follows(Counter(min(9, rng.randrange(11)) for _ in range(20_000)), even)


def test_round_robin_is_one_after_the_other() -> None:
    assert sequence(Balancer(), Strategy.ROUND_ROBIN, fleet(3), 7) == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize("count", [2, 10, 100])
def test_random_is_even(count: int) -> None:
    chosen = sequence(Balancer(Random(SEED)), Strategy.RANDOM, fleet(count), 20_000)
    assert follows(Counter(chosen), dict.fromkeys(range(count), 1 / count))


def test_weighted_random_follows_the_weights() -> None:
    weights = {"a": 1, "b": 2, "c": 3, "d": 10, "e": 84}
    chosen = Counter(letters(Balancer(Random(SEED)), Strategy.WEIGHTED_RANDOM, weighted(weights), 20_000))
    assert follows(chosen, {name: weight / 100 for name, weight in weights.items()})
    assert not follows(chosen, dict.fromkeys(weights, 0.2))


@pytest.mark.parametrize(
    ("weights", "pattern"),
    [
        # The example of nginx's own change, and that of the LVS wiki spread smoothly.
        ({"a": 5, "b": 1, "c": 1}, "aabacaa"),
        ({"a": 4, "b": 3, "c": 2}, "abcabacba"),
        ({"a": 1, "b": 1}, "ab"),
        ({"a": 7}, "a"),
    ],
)
def test_weighted_round_robin_is_the_smooth_pattern(weights: dict[str, int], pattern: str) -> None:
    chosen = letters(Balancer(), Strategy.WEIGHTED_ROUND_ROBIN, weighted(weights), 3 * len(pattern))
    assert chosen == pattern * 3


def test_a_weight_that_changes_counts_from_the_next_round_on() -> None:
    balancer = Balancer()
    letters(balancer, Strategy.WEIGHTED_ROUND_ROBIN, weighted({"a": 1, "b": 1}), 100)
    chosen = letters(balancer, Strategy.WEIGHTED_ROUND_ROBIN, weighted({"a": 3, "b": 1}), 400)
    assert Counter(chosen) == {"a": 300, "b": 100}


def test_an_instance_with_a_warning_gets_what_the_rule_leaves_it() -> None:
    found = [candidate("a"), candidate("b", health="warning"), candidate("c", health="warning")]
    found[2] = candidate("c", health="warning", meta={"weight": "9", "weight_warning": "2"})
    asking = Asking("q", warned_percent=25)
    chosen = sequence(Balancer(), Strategy.WEIGHTED_ROUND_ROBIN, found, 13 * 5, asking)
    # In hundredths 100, 25 and, by its own word, 200.
    assert Counter(chosen) == {0: 20, 1: 5, 2: 40}
    plain = sequence(Balancer(), Strategy.WEIGHTED_ROUND_ROBIN, found[:2], 10)
    assert Counter(plain) == {0: 5, 1: 5}


def test_least_connections_fills_up_the_emptiest() -> None:
    loads = Loads(clock=Clock())
    found = [candidate(name) for name in "abc"]
    for one, connections in zip(found, (5, 2, 3), strict=True):
        loads.take(Report(one.key, "client", connections))
    balancer = Balancer(loads=loads)
    # b is at 2: it is chosen until it has as many as c, then those two until they have as many as a.
    assert letters(balancer, Strategy.LEAST_CONNECTIONS, found, 2) == "bc"
    chosen = Counter(letters(balancer, Strategy.LEAST_CONNECTIONS, found, 3))
    assert chosen == {"b": 2, "c": 1}
    assert [loads.active(one.key) for one in found] == [5, 5, 5]
    assert Counter(letters(balancer, Strategy.LEAST_CONNECTIONS, found, 30)) == dict.fromkeys("abc", 10)


def test_a_report_takes_the_place_of_who_was_sent_there_and_ends() -> None:
    clock = Clock()
    loads = Loads(ttl_s=30, clock=clock)
    key = candidate("a").key
    loads.assign(key)
    loads.assign(key)
    assert loads.active(key) == 2
    loads.take(Report(key, "one", 7))
    loads.take(Report(key, "two", 1))
    loads.take(Report(key, "one", 4))
    assert (loads.active(key), len(loads)) == (5, 2)
    clock.now_s += 20
    loads.take(Report(key, "two", 2))
    clock.now_s += 11
    assert (loads.active(key), len(loads)) == (2, 1)
    loads.assign(key)
    clock.now_s += 31
    assert (loads.active(key), len(loads)) == (0, 0)


def test_reports_are_bounded_and_the_oldest_go() -> None:
    loads = Loads(most=10, clock=Clock())
    for number in range(100):
        loads.take(Report(f"web {number}".encode(), "client", 1))
    assert (len(loads), loads.forgotten) == (10, 90)
    assert [key for key, _ in loads.reported()] == [f"web {number}".encode() for number in range(90, 100)]
    for number in range(2_000):
        loads.take(Report(b"web 99", f"client-{number}", 1))
    assert loads.active(b"web 99") <= 1_000


@pytest.mark.parametrize("count", [3, 10])
def test_ip_hash_spreads_addresses_evenly(count: int) -> None:
    rng = Random(SEED)
    addresses = [f"{rng.randrange(1, 224)}.{rng.randrange(256)}.{rng.randrange(256)}.7" for _ in range(5_000)]
    chosen = Counter(hashing.ip_hash(count, address)[0] for address in addresses)
    assert follows(chosen, dict.fromkeys(range(count), 1 / count))


def owners(names: list[str], sessions: list[str]) -> dict[str, str]:
    rings = [hashing.ring_points(name) for name in names]
    return {session: names[hashing.ring_hash(rings, session)[0]] for session in sessions}


SESSIONS = [f"user-{number}" for number in range(2_000)]
NODES = [f"web/i{number}:10.0.0.{number}" for number in range(10)]


def test_sessions_that_are_named_alike_spread_over_the_ring() -> None:
    counts = Counter(owners(NODES, SESSIONS).values())
    assert len(counts) == len(NODES)
    assert max(counts.values()) < 1.35 * len(SESSIONS) / len(NODES)
    assert min(counts.values()) > 0.65 * len(SESSIONS) / len(NODES)


@pytest.mark.parametrize("gone", range(len(NODES)))
def test_when_an_instance_goes_only_its_sessions_move(gone: int) -> None:
    before = owners(NODES, SESSIONS)
    after = owners(NODES[:gone] + NODES[gone + 1 :], SESSIONS)
    moved = [session for session in SESSIONS if before[session] != after[session]]
    assert moved == [session for session in SESSIONS if before[session] == NODES[gone]]
    assert len(moved) <= 1.35 * len(SESSIONS) / len(NODES)
    # Nobody inherits all of them.
    assert max(Counter(after[session] for session in moved).values()) < len(moved) / 2


def test_when_an_instance_comes_sessions_move_only_to_it() -> None:
    newcomer = "web/i10:10.0.0.10"
    before, after = owners(NODES, SESSIONS), owners([*NODES, newcomer], SESSIONS)
    moved = [session for session in SESSIONS if before[session] != after[session]]
    assert {after[session] for session in moved} == {newcomer}
    assert 0 < len(moved) <= 1.35 * len(SESSIONS) / (len(NODES) + 1)


@pytest.mark.parametrize("factor", [1.01, 1.25, 2.0])
@pytest.mark.parametrize("sessions", ["many", "one"])
def test_with_a_load_factor_nobody_carries_more(factor: float, sessions: str) -> None:
    rings = [hashing.ring_points(name) for name in NODES]
    loads = [0] * len(rings)
    for number in range(1, 2_001):
        session = f"user-{number}" if sessions == "many" else "the one everybody asks for"
        (at,) = hashing.bounded_ring_hash(rings, session, loads, factor)
        loads[at] += 1
        assert max(loads) <= math.ceil(factor * number / len(loads))
    assert sum(loads) == 2_000


def test_while_nobody_is_full_the_bounded_ring_is_the_ring() -> None:
    rings = [hashing.ring_points(name) for name in NODES]
    for session in SESSIONS[:300]:
        plain = hashing.ring_hash(rings, session, 4)
        assert hashing.bounded_ring_hash(rings, session, [0] * 10, 2.0, 4) == plain
        full = [0] * 10
        full[plain[0]] = 1_000
        assert hashing.bounded_ring_hash(rings, session, full, 1.25)[0] == plain[1]
        # All are full by what others say: the order of the ring holds.
        assert hashing.bounded_ring_hash(rings, session, [10**6] * 10, 1.01, 1)[0] in range(10)


def test_with_bounded_loads_few_sessions_move_when_an_instance_goes() -> None:
    """Mirrokni et al. bound what moves by a constant per factor; plain modulo would move nine of ten."""

    def placed(names: list[str]) -> dict[str, str]:
        rings, loads, where = [hashing.ring_points(name) for name in names], [0] * len(names), {}
        for session in SESSIONS:
            (at,) = hashing.bounded_ring_hash(rings, session, loads, 1.5)
            loads[at] += 1
            where[session] = names[at]
        return where

    before, after = placed(NODES), placed(NODES[1:])
    moved = sum(before[session] != after[session] for session in SESSIONS)
    assert moved <= 0.25 * len(SESSIONS)


def test_the_balancer_counts_whom_it_sent_where() -> None:
    balancer = Balancer(loads=Loads(clock=Clock()))
    asking = Asking("q", session="hot", load_factor=1.25)
    counts = Counter(sequence(balancer, Strategy.RING_HASH, fleet(5), 100, asking))
    assert max(counts.values()) <= math.ceil(1.25 * 100 / 5)
    assert set(
        Counter(sequence(balancer, Strategy.RING_HASH, fleet(5), 100, Asking("q", session="hot")))
    ) == {sequence(balancer, Strategy.RING_HASH, fleet(5), 1, Asking("q", session="hot"))[0]}


def test_latency_takes_the_faster_of_two() -> None:
    loads = Loads(clock=Clock())
    found = fleet(5)
    for number, one in enumerate(found):
        loads.take(Report(one.key, "client", latency_ms=10.0 * (5 - number)))
    chosen = Counter(sequence(Balancer(Random(SEED), loads), Strategy.LATENCY_BASED, found, 20_000))
    count = len(found)
    ranks = {at: count - 1 - at for at in range(count)}
    expected = {at: 2 * (count - 1 - rank) / (count * (count - 1)) for at, rank in ranks.items() if at}
    assert 0 not in chosen, "the slowest of all is never the faster of two"
    assert follows(chosen, expected)


def test_who_was_not_measured_is_tried() -> None:
    loads = Loads(clock=Clock())
    found = fleet(3)
    loads.take(Report(found[0].key, "client", latency_ms=1.0))
    loads.take(Report(found[1].key, CHECKS, latency_ms=90.0))
    chosen = Counter(sequence(Balancer(Random(SEED), loads), Strategy.LATENCY_BASED, found, 9_000))
    assert chosen[1] == 0
    assert follows(chosen, {0: 1 / 2, 2: 1 / 2})


def test_a_latency_decays_by_time_and_ends() -> None:
    assert averaged(100.0, 0.0, 0.0, 10.0) == 100.0
    assert averaged(100.0, 0.0, 10.0, 10.0) == pytest.approx(100 / math.e)
    clock = Clock()
    loads = Loads(latency_ttl_s=60, decay_s=10, clock=clock)
    loads.take(Report(b"a a", CHECKS, latency_ms=50.0))
    loads.take(Report(b"a a", "client", latency_ms=20.0))
    assert loads.latency_ms(b"a a") == 20.0
    clock.now_s += 10
    loads.take(Report(b"a a", "client", latency_ms=40.0))
    assert loads.latency_ms(b"a a") == pytest.approx(40 - 20 / math.e)
    clock.now_s += 55
    loads.take(Report(b"a a", CHECKS, latency_ms=70.0))
    clock.now_s += 6
    # What clients said is over; what checks measured is not.
    assert loads.latency_ms(b"a a") == 70.0
    clock.now_s += 60
    assert loads.latency_ms(b"a a") is None


def test_of_what_checks_measure_only_news_is_passed_on() -> None:
    clock = Clock()
    loads = Loads(latency_ttl_s=60, decay_s=1e-9, clock=clock)

    def measured(latency_ms: float) -> bool:
        clock.now_s += 5
        loads.take(Report(b"a a", CHECKS, latency_ms=latency_ms))
        return loads.is_news(b"a a")

    assert not loads.is_news(b"a a")
    told = [measured(latency_ms) for latency_ms in (10, 10, 11.9, 12.1, 12, 10, 10, 10, 10, 10, 10, 10)]
    assert told == [True, False, False, True, False, True, False, False, False, True, False, False]


def test_percentages_are_kept_at_random_and_by_session() -> None:
    shares = (Share("canary", 500, ("next",)), Share("beta", 1_550, ("beta",)))
    expected = {"canary": 0.05, "beta": 0.155, REST: 0.795}
    rng = Random(SEED)
    assert follows(Counter(share_at(shares, rng.randrange(BASIS)) for _ in range(20_000)), expected)
    sessions = {f"user-{number}": point_of(f"user-{number}", "split web") for number in range(20_000)}
    assert follows(Counter(share_at(shares, point) for point in sessions.values()), expected)
    # A canary that grows keeps its own.
    grown = (Share("canary", 1_000, ("next",)), *shares[1:])
    for point in sessions.values():
        assert share_at(shares, point) != "canary" or share_at(grown, point) == "canary"
    assert [share_at((Share("all", BASIS, ("x",)),), point) for point in (0, BASIS - 1)] == ["all", "all"]
    assert share_at((Share("none", 0, ("x",)),), 0) == REST
    assert whole((Share("a", BASIS),))
    assert not whole((Share("a", BASIS), Share("b", 1)))


def test_a_session_falls_elsewhere_for_another_service_and_on_the_ring() -> None:
    sessions = [f"user-{number}" for number in range(4_000)]
    canaries = [one for one in sessions if point_of(one, "split web") < BASIS // 10]
    others = Counter(point_of(one, "split api") * 10 // BASIS for one in canaries)
    assert follows(others, dict.fromkeys(range(10), 0.1))
    rings = [hashing.ring_points(name) for name in NODES]
    assert len({hashing.ring_hash(rings, one)[0] for one in canaries}) == len(NODES)


@pytest.mark.parametrize(
    ("serving", "known", "stays"),
    [(10, 10, BASIS), (7, 10, BASIS), (6, 10, 8_571), (1, 10, 1_428), (0, 10, 0), (0, 0, 0), (3, 2, BASIS)],
)
def test_a_zone_keeps_what_it_can_carry(serving: int, known: int, stays: int) -> None:
    assert stays_of(serving, known, 70) == stays


@pytest.mark.parametrize("strategy", Strategy)
def test_several_answers_are_different_and_begin_with_the_one(strategy: Strategy) -> None:
    found = weighted({name: number + 1 for number, name in enumerate("abcdefgh")})
    for most in (1, 2, 5, 8, 50):
        one, several = Balancer(Random(SEED)), Balancer(Random(SEED))
        asking = Asking("q", "10.0.0.9", session="s", load_factor=1.25)
        chosen = asyncio.run(several.order(strategy, Pool(found), asking, most))
        assert len(chosen) == len(set(chosen)) == min(most, len(found))
        if strategy not in (Strategy.RANDOM, Strategy.WEIGHTED_RANDOM, Strategy.LATENCY_BASED):
            assert chosen[0] == asyncio.run(one.order(strategy, Pool(found), asking))[0]
