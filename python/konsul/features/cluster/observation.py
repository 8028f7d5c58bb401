"""What the leader sees of each member over time: how long silent, how long healthy."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from konsul.features.cluster.autopilot_config import AutopilotConfig
from konsul.features.cluster.decisions import Server, is_healthy
from konsul.features.cluster.view import Member, View


class Observation:
    """Remembers, by raft id, since when a member is known and since when it is healthy.

    Begins anew with every leadership: what a former leader saw is not known, so nobody is dead at first.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._known_s: dict[int, float] = {}
        self._healthy_s: dict[int, float] = {}

    def servers(self, view: View, last_index: int, config: AutopilotConfig) -> list[Server]:
        """Every member as it is now. `last_index`: of the leader's log."""
        now_s = self._clock_s()
        found = [self._server(member, view, last_index, config, now_s) for member in view.members]
        present = {member.raft_id for member in view.members}
        for times in (self._known_s, self._healthy_s):
            for gone in times.keys() - present:
                del times[gone]
        return found

    def _server(
        self, member: Member, view: View, last_index: int, config: AutopilotConfig, now_s: float
    ) -> Server:
        known_ms = _ms(now_s - self._known_s.setdefault(member.raft_id, now_s))
        # What the core remembers of an earlier leadership must not make a member older than our watch.
        silent_ms = known_ms if member.last_contact_ms is None else min(member.last_contact_ms, known_ms)
        leader = member.raft_id == view.raft_id
        server = Server(
            raft_id=member.raft_id,
            node_id=member.node_id,
            zone=member.zone,
            voter=member.votes,
            read_only=member.read_only,
            leader=leader,
            silent_ms=0 if leader else silent_ms,
            lag=0 if leader else max(0, last_index - (member.match_index or 0)),
            healthy=False,
        )
        if not ((leader or _is_under_way(member, last_index)) and is_healthy(server, config)):
            self._healthy_s.pop(member.raft_id, None)
            return server
        since_s = self._healthy_s.setdefault(member.raft_id, now_s)
        return replace(server, healthy=True, healthy_ms=_ms(now_s - since_s))


def _is_under_way(member: Member, last_index: int) -> bool:
    """False for a member never heard of, and for a learner that has not begun to follow the log: with a short
    log even an empty node is not far behind, and its vote would hold up every write.

    One that has the whole log by a snapshot is only probed until there is something new to send it.
    """
    if member.last_contact_ms is None:
        return False
    if member.votes:
        return True
    match = member.match_index or 0
    return match > 0 and (match >= last_index or member.progress in (None, "replicate"))


def _ms(seconds: float) -> int:
    return round(seconds * 1_000)
