"""What autopilot would do: a pure function. One action at a time, none that risks a quorum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from konsul.features.cluster.autopilot_config import AutopilotConfig

VOTERS_MAX: Final = 7
FEW_VOTERS: Final = 3
"""Below this a new member votes as soon as it keeps up: a cluster that cannot lose a node has no time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One member as the leader sees it; durations by its monotonic clock."""

    raft_id: int
    node_id: str
    zone: str = ""
    voter: bool = True
    read_only: bool = False
    leader: bool = False
    silent_ms: int = 0
    """Since it was last heard of, or since this leader has been waiting for it."""
    lag: int = 0
    """Log entries it is behind."""
    healthy_ms: int = 0
    """For how long it has been healthy; 0: it is not."""
    healthy: bool = True


@dataclass(frozen=True, slots=True)
class Action:
    """One change of members, and why."""

    kind: Literal["promote", "demote", "remove"]
    raft_id: int
    node_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do next, None for nothing, and what should be done but may not be, by node id."""

    action: Action | None = None
    held_back: tuple[tuple[str, str], ...] = ()


def is_healthy(server: Server, config: AutopilotConfig) -> bool:
    """True for one that is heard of and keeps up."""
    if server.leader:
        return True
    is_near = server.silent_ms <= config.last_contact_threshold_ms
    return is_near and server.lag <= config.max_trailing_logs


def score(server: Server, config: AutopilotConfig) -> int:
    """Health from 0 to 100: half for being heard of, half for keeping up; 0 for one that is not healthy."""
    if not is_healthy(server, config):
        return 0
    silent = 0.0 if server.leader else server.silent_ms / config.last_contact_threshold_ms
    lag = 0.0 if server.leader else server.lag / config.max_trailing_logs
    return round(100 - 50 * min(1.0, silent) - 50 * min(1.0, lag))


def quorum(voters: int) -> int:
    """How many of so many voters must agree."""
    return voters // 2 + 1


def failure_tolerance(servers: Sequence[Server]) -> int:
    """How many healthy voters may fail before there is no quorum."""
    voters = [server for server in servers if server.voter]
    return max(0, sum(server.healthy for server in voters) - quorum(len(voters)))


def decide(servers: Sequence[Server], config: AutopilotConfig) -> Plan:
    """The next action. Removes who is gone, promotes who keeps up, keeps one voter in a zone; in this order.

    Never proposes what leaves fewer healthy voters than a quorum of the voters there are then.
    """
    voters = [server for server in servers if server.voter]
    healthy = sum(server.healthy for server in voters)
    if not config.enabled or healthy < quorum(len(voters)):
        return Plan()
    removal, held_back = _removal(servers, voters, config)
    return Plan(removal or _promotion(servers, voters, config) or _demotion(voters, config), held_back)


def _removal(
    servers: Sequence[Server], voters: Sequence[Server], config: AutopilotConfig
) -> tuple[Action | None, tuple[tuple[str, str], ...]]:
    if not config.cleanup_dead_servers:
        return None, ()
    dead = [one for one in servers if not one.leader and one.silent_ms > config.dead_server_timeout_ms]
    dead_voters = [one for one in dead if one.voter]
    for one in dead:
        if not one.voter:
            return Action("remove", one.raft_id, one.node_id, "it stays silent"), ()
    if not dead_voters:
        return None, ()
    if len(dead_voters) * 2 >= len(voters):
        why = f"{len(dead_voters)} of {len(voters)} voters are silent: that may be this side's fault"
    elif len(voters) - 1 < config.min_quorum:
        why = f"fewer than min_quorum ({config.min_quorum}) voters would be left"
    else:
        first = max(dead_voters, key=lambda one: (one.silent_ms, one.raft_id))
        return Action("remove", first.raft_id, first.node_id, "it stays silent"), ()
    return None, tuple((one.node_id, why) for one in dead_voters)


def _promotion(servers: Sequence[Server], voters: Sequence[Server], config: AutopilotConfig) -> Action | None:
    if len(voters) >= VOTERS_MAX:
        return None
    needed_ms, lag_max = config.server_stabilization_time_ms, config.max_trailing_logs
    if len(voters) < FEW_VOTERS:
        # Its vote will be needed at once, so it must not have much left to fetch.
        needed_ms, lag_max = 0, lag_max // 10
    able = [one for one in servers if one.healthy and not (one.voter or one.read_only)]
    ready = [one for one in able if one.healthy_ms >= needed_ms and one.lag <= lag_max]
    for one in sorted(ready, key=lambda one: (-one.healthy_ms, one.raft_id)):
        if not config.redundancy_zones or not one.zone:
            return Action("promote", one.raft_id, one.node_id, "it keeps up and has been stable")
        if not any(voter.healthy for voter in voters if voter.zone == one.zone):
            return Action("promote", one.raft_id, one.node_id, f"zone {one.zone} has no healthy voter")
    return None


def _demotion(voters: Sequence[Server], config: AutopilotConfig) -> Action | None:
    """A second voter of a zone stands back, the one that fails first, the leader never."""
    healthy = sum(voter.healthy for voter in voters)
    for zone in sorted({voter.zone for voter in voters if voter.zone}) if config.redundancy_zones else ():
        here = [voter for voter in voters if voter.zone == zone]
        kept = max(here, key=lambda one: (one.leader, one.healthy, one.healthy_ms, -one.raft_id))
        for one in sorted(here, key=lambda one: (one.healthy, one.healthy_ms, one.raft_id)):
            left = healthy - one.healthy
            if one is kept or not kept.healthy or len(voters) - 1 < config.min_quorum:
                continue
            if left >= quorum(len(voters) - 1):
                return Action("demote", one.raft_id, one.node_id, f"{kept.node_id} votes for zone {zone}")
    return None
