"""Who leads and who is a member, told on every node when it changes."""

from __future__ import annotations

import pytest

from tests.cluster.harness.cluster import Cluster
from tests.doors.streams import Stream, message, socket


@pytest.mark.timeout(200)
def test_who_leads_and_who_is_a_member_is_told_the_same_everywhere_and_when_it_changes(trio: Cluster) -> None:
    leader, follower = trio.until_leader(), trio.followers()[0]
    with (
        Stream(follower.port, "/cluster/watch") as there,
        Stream(leader.port, "/cluster/watch") as here,
        socket(follower.port, "/ws/updates") as updates,
    ):
        first, members = there.events(2)
        assert first.data["leader"] == leader.name
        assert {one["node_id"] for one in members.data["members"]} == set(trio.nodes)
        assert here.event().data == first.data, "the same on every node"
        assert here.event().data == members.data
        updates.send('{"type":"subscribe","channels":["cluster"]}')
        assert message(updates)["data"]["channels"] == ["cluster"]
        assert message(updates)["data"] == first.data
        assert message(updates)["data"] == members.data
        answer = follower.ask("POST", "/cluster/transfer-leader", {"node_id": follower.name})
        assert answer.status == 200, answer.body
        for stream in (there, here):
            told = stream.event().data
            while told.get("leader") != follower.name:
                assert set(told) in ({"type", "members"}, {"type", "leader", "raft_id", "term"})
                told = stream.event().data
            assert told["type"] == "leader"
            assert told["term"] > first.data["term"]
        while message(updates)["data"].get("leader") != follower.name:
            pass
