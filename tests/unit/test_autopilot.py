"""What autopilot decides, and that it never decides against a quorum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konsul.errors import Invalid
from konsul.features.cluster.autopilot_config import AutopilotConfig, changed, document
from konsul.features.cluster.decisions import (
    VOTERS_MAX,
    Action,
    Server,
    decide,
    failure_tolerance,
    is_healthy,
    quorum,
    score,
)

USUAL = AutopilotConfig()
ZONES = AutopilotConfig(redundancy_zones=True)
LONG_MS = 60_000


def server(raft_id: int, **more: object) -> Server:
    """A healthy voter, stable for long."""
    given: dict[str, object] = {"node_id": f"n{raft_id}", "healthy_ms": LONG_MS} | more
    return Server(raft_id=raft_id, **given)  # type: ignore[arg-type]


def leader(raft_id: int = 1, **more: object) -> Server:
    return server(raft_id, leader=True, **more)


def dead(raft_id: int, **more: object) -> Server:
    return server(raft_id, silent_ms=LONG_MS, healthy=False, healthy_ms=0, **more)


def learner(raft_id: int, **more: object) -> Server:
    return server(raft_id, voter=False, **more)


def action(servers: Sequence[Server], config: AutopilotConfig = USUAL) -> tuple[str, str] | None:
    found = decide(servers, config).action
    return None if found is None else (found.kind, found.node_id)


def test_a_learner_votes_at_once_while_there_are_few_voters() -> None:
    assert action([leader(), learner(2, healthy_ms=1)]) == ("promote", "n2")


def test_a_vote_that_is_needed_at_once_is_not_given_to_one_that_has_much_to_fetch() -> None:
    assert action([leader(), learner(2, lag=101)]) is None
    assert action([leader(), server(2), server(3), learner(4, lag=101)]) == ("promote", "n4")


def test_a_further_voter_must_have_been_stable() -> None:
    three = [leader(), server(2), server(3)]
    assert action([*three, learner(4, healthy_ms=9_999)]) is None
    assert action([*three, learner(4, healthy_ms=10_000)]) == ("promote", "n4")


@pytest.mark.parametrize("more", [{"read_only": True}, {"healthy": False, "healthy_ms": 0}])
def test_who_never_votes_or_is_not_well_is_not_promoted(more: dict[str, object]) -> None:
    assert action([leader(), learner(2, **more)]) is None


def test_there_are_never_more_voters_than_help() -> None:
    full = [leader(), *(server(number) for number in range(2, VOTERS_MAX + 1))]
    assert action([*full, learner(9)]) is None


def test_a_dead_voter_is_removed_when_enough_are_left() -> None:
    four = [leader(), server(2), server(3), dead(4)]
    assert action(four) == ("remove", "n4")


def test_a_dead_voter_stays_when_too_few_would_be_left() -> None:
    plan = decide([leader(), server(2), dead(3)], USUAL)
    assert plan.action is None
    assert plan.held_back == (("n3", "fewer than min_quorum (3) voters would be left"),)
    assert action([leader(), server(2), dead(3)], replace(USUAL, min_quorum=2)) == ("remove", "n3")


def test_half_of_the_voters_silent_is_not_their_fault() -> None:
    half = [leader(), server(2), dead(3), dead(4), server(5), dead(6)]
    plan = decide(half, replace(USUAL, min_quorum=1))
    assert plan.action is None
    assert [name for name, _ in plan.held_back] == []  # without a quorum of healthy voters nothing is thought
    three_of_seven = [leader(), server(2), server(3), server(7), dead(4), dead(5), dead(6)]
    assert decide(three_of_seven, USUAL).action is not None


def test_the_longest_silent_goes_first_and_a_dead_learner_before_voters() -> None:
    five = [leader(), server(2), server(3), dead(4), replace(dead(5), silent_ms=LONG_MS * 2)]
    assert action(five) == ("remove", "n5")
    assert action([*five, dead(9, voter=False)]) == ("remove", "n9")


def test_switches_are_obeyed() -> None:
    four = [leader(), server(2), server(3), dead(4), learner(5)]
    assert action(four, replace(USUAL, enabled=False)) is None
    assert action(four, replace(USUAL, cleanup_dead_servers=False)) == ("promote", "n5")


def test_a_zone_has_one_voter_and_standbys() -> None:
    zoned = [leader(zone="a"), server(2, zone="b"), server(3, zone="c"), learner(4, zone="b")]
    assert action(zoned, ZONES) is None
    assert action(zoned, USUAL) == ("promote", "n4")


def test_a_standby_votes_when_the_voter_of_its_zone_fails_and_that_one_stands_back() -> None:
    failed = server(2, zone="b", healthy=False, healthy_ms=0, silent_ms=11_000)
    zoned = [leader(zone="a"), failed, server(3, zone="c"), learner(4, zone="b"), learner(5, zone="c")]
    assert action(zoned, ZONES) == ("promote", "n4")
    promoted = [replace(one, voter=True) if one.raft_id == 4 else one for one in zoned]
    assert action(promoted, ZONES) == ("demote", "n2")


def test_a_standby_of_the_failed_zone_does_not_wait_for_a_vacancy_elsewhere() -> None:
    zoned = [leader(zone="a"), server(2, zone="b"), server(3, zone="c"), learner(6)]
    assert action(zoned, ZONES) == ("promote", "n6")  # a node without a zone is its own


def test_the_leader_keeps_the_vote_of_its_zone() -> None:
    zoned = [leader(zone="a"), server(2, zone="a"), server(3, zone="b"), server(4, zone="c")]
    assert action(zoned, ZONES) == ("demote", "n2")


def test_health_has_two_halves() -> None:
    assert score(server(2), USUAL) == 100
    assert score(server(2, silent_ms=5_000), USUAL) == 75
    assert score(server(2, lag=500, silent_ms=5_000), USUAL) == 50
    assert score(server(2, lag=1_001), USUAL) == 0
    assert is_healthy(leader(silent_ms=LONG_MS, lag=10**9), USUAL)
    assert failure_tolerance([leader(), server(2), server(3), dead(4), server(5)]) == 1


servers = st.lists(
    st.builds(
        Server,
        raft_id=st.integers(1, 1),
        node_id=st.just(""),
        zone=st.sampled_from(["", "a", "b", "c"]),
        voter=st.booleans(),
        read_only=st.booleans(),
        silent_ms=st.sampled_from([0, 5_000, 20_000, 40_000]),
        lag=st.sampled_from([0, 2_000]),
        healthy_ms=st.sampled_from([1, 20_000]),
    ),
    min_size=1,
    max_size=10,
)
configs = st.builds(
    AutopilotConfig,
    cleanup_dead_servers=st.booleans(),
    min_quorum=st.integers(1, 7),
    redundancy_zones=st.booleans(),
)


def sensible(drawn: list[Server], config: AutopilotConfig) -> list[Server]:
    """Numbers them, makes the first the leader, and says who is healthy."""
    found = []
    for number, one in enumerate(drawn, 1):
        one = replace(one, raft_id=number, node_id=f"n{number}", leader=number == 1)
        one = replace(one, voter=True, silent_ms=0) if number == 1 else one
        well = is_healthy(one, config)
        found.append(replace(one, healthy=well, healthy_ms=one.healthy_ms if well else 0))
    return found


def after(members: list[Server], done: Action) -> list[Server]:
    """The members when it is done."""
    if done.kind == "remove":
        return [one for one in members if one.raft_id != done.raft_id]
    return [
        replace(one, voter=done.kind == "promote") if one.raft_id == done.raft_id else one for one in members
    ]


@given(servers, configs)
def test_no_action_ever_breaks_a_quorum(drawn: list[Server], config: AutopilotConfig) -> None:
    members = sensible(drawn, config)
    for _ in range(40):
        done = decide(members, config).action
        if done is None:
            return
        target = next(one for one in members if one.raft_id == done.raft_id)
        before = sum(one.voter for one in members)
        members = after(members, done)
        voters = [one for one in members if one.voter]
        assert sum(one.healthy for one in voters) >= quorum(len(voters)), done
        assert not target.leader or done.kind == "promote"
        assert len(voters) >= min(before, config.min_quorum)
        assert len(voters) <= max(before, VOTERS_MAX)
        if done.kind == "promote":
            assert target.healthy
            assert not target.read_only
        if done.kind == "remove":
            assert target.silent_ms > config.dead_server_timeout_ms
    raise AssertionError("it never comes to rest")


def test_settings_are_shown_as_they_are_taken() -> None:
    shown = document(USUAL)
    assert shown["last_contact_threshold"] == "10s"
    assert changed(AutopilotConfig(enabled=False), shown) == USUAL


@pytest.mark.parametrize(
    "changes",
    [
        {"unknown": 1},
        {"enabled": "yes"},
        {"enabled": 1},
        {"max_trailing_logs": True},
        {"max_trailing_logs": 0},
        {"last_contact_threshold": 10},
        {"last_contact_threshold": "10"},
        {"last_contact_threshold": "1ms"},
        {"dead_server_timeout": "2s"},
        {"min_quorum": 8},
        {"server_stabilization_time": None},
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        changed(USUAL, changes)
