"""Nodes find each other, form one cluster, join it, are invited, leave: over a wire without consensus."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from konsul.errors import Conflict, Forbidden, Invalid, KonsulError, NotFound, Unsupported
from konsul.features.cluster import formation as formation_module
from konsul.features.cluster.membership import membership_of, on_leader
from tests.unit.fake_cluster import FakeNode, Wire, refusal
from tests.waiting import until_async

TOKEN = "a-shared-secret"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not wait between rounds."""
    monkeypatch.setattr(formation_module, "_SOON_S", 0.001)
    for name in ("_FORMING_S", "_LATER_S"):
        monkeypatch.setattr(formation_module, name, 0.005)


def three(**settings: str) -> tuple[Wire, list[FakeNode]]:
    """Three fresh nodes that expect each other."""
    wire = Wire()
    names = ("n1", "n2", "n3")
    join = {name: ",".join(f"{other}:7000" for other in names if other != name) for name in names}
    nodes = [FakeNode(wire, name, BOOTSTRAP_EXPECT="3", JOIN=join[name], **settings) for name in names]
    return wire, nodes


async def formed(*nodes: FakeNode) -> None:
    """Runs them until they are in."""
    await asyncio.wait_for(asyncio.gather(*(node.formation.run() for node in nodes)), 20)


def cluster_ids(nodes: list[FakeNode]) -> set[str]:
    return {node.fake.cluster()["cluster_id"] for node in nodes}


def test_three_that_expect_each_other_form_one_cluster() -> None:
    wire, nodes = three()
    asyncio.run(formed(*nodes))
    assert len(cluster_ids(nodes)) == 1
    assert nodes[2].names == {"n1", "n2", "n3"}
    assert nodes[0].fake.cluster()["leader_raft_id"] == nodes[0].fake.raft_id
    assert [one["role"] for one in nodes[0].fake.cluster()["members"]] == ["voter", "learner", "learner"]
    assert all(node.formation.promises.given == "" for node in nodes)
    assert wire.asked


def test_two_of_three_wait_for_the_third() -> None:
    wire, nodes = three()
    wire.down.add("n1:7000")

    async def story() -> None:
        waiting = [asyncio.create_task(node.formation.run()) for node in nodes[1:]]
        await until_async(lambda: len(wire.asked) >= 40, "the two to have asked each other often")
        assert cluster_ids(nodes) == {""}
        wire.down.clear()
        await formed(nodes[0])
        await asyncio.wait_for(asyncio.gather(*waiting), 20)

    asyncio.run(story())
    assert len(cluster_ids(nodes)) == 1


def test_a_stranger_without_the_token_gets_no_promise() -> None:
    wire, nodes = three(JOIN_TOKEN=TOKEN)
    stranger = FakeNode(wire, "a", BOOTSTRAP_EXPECT="3", JOIN="n2:7000,n3:7000")

    async def story() -> None:
        met = await asyncio.gather(*(stranger.formation._greet(f"n{n}:7000", ask=True) for n in (2, 3)))
        assert [one.promised for one in met if one] == [False, False]
        await formed(*nodes)

    asyncio.run(story())
    assert nodes[0].names == {"n1", "n2", "n3"}


def test_a_fresh_node_joins_by_any_member_and_the_leader_decides() -> None:
    wire, nodes = three()
    late = FakeNode(wire, "n4", JOIN="n3:7000")

    async def story() -> None:
        await formed(*nodes)
        wire.asked.clear()
        await formed(late)

    asyncio.run(story())
    assert ("n4:7000", "n3:7000", "join") in wire.asked
    assert ("n3:7000", "n1:7000", "join") in wire.asked
    assert late.names == {"n1", "n2", "n3", "n4"}


def test_who_is_told_to_bootstrap_joins_a_cluster_that_is_there() -> None:
    wire = Wire()
    first, lost = (
        FakeNode(wire, "n1", BOOTSTRAP="true"),
        FakeNode(wire, "n2", BOOTSTRAP="true", JOIN="n1:7000"),
    )

    async def story() -> None:
        await formed(first)
        await formed(lost)

    asyncio.run(story())
    assert len(cluster_ids([first, lost])) == 1


def record_of(node: FakeNode) -> Any:
    return node.formation._record()


def with_cluster(story: Any, **settings: str) -> None:
    """Runs `story(leader, stranger)` with a cluster of one and a fresh node."""
    wire = Wire()
    leader, fresh = FakeNode(wire, "n1", BOOTSTRAP="true", **settings), FakeNode(wire, "n2")

    async def run() -> None:
        await formed(leader)
        await story(leader, fresh)

    asyncio.run(run())


def test_the_static_token_is_asked_of_who_joins() -> None:
    async def story(leader: FakeNode, fresh: FakeNode) -> None:
        membership = membership_of(leader.engine, leader.config)
        for token in ("", "a-wrong-secret"):
            error = await refusal(membership.admit(record_of(fresh), token))
            assert isinstance(error, Forbidden)
            assert TOKEN not in str(error)
        await membership.admit(record_of(fresh), TOKEN)
        assert leader.names == {"n1", "n2"}
        assert await membership.admit(record_of(fresh), "") is not None, "the same again needs no token"
        changed = replace(record_of(fresh), address="elsewhere:7000")
        assert isinstance(await refusal(membership.admit(changed, "")), Forbidden)
        await membership.admit(changed, "", is_itself=True)

    with_cluster(story, JOIN_TOKEN=TOKEN)


def test_a_token_can_be_asked_for_while_there_is_none() -> None:
    async def story(leader: FakeNode, fresh: FakeNode) -> None:
        admit = membership_of(leader.engine, leader.config).admit(record_of(fresh), "")
        assert isinstance(await refusal(admit), Forbidden)

    with_cluster(story, **{"REQUIRE_JOIN_TOKEN": "true"})


def test_names_and_addresses_are_nobody_elses() -> None:
    async def story(leader: FakeNode, fresh: FakeNode) -> None:
        membership = membership_of(leader.engine, leader.config)
        record = record_of(fresh)
        await membership.admit(record, "")
        for wrong in (
            replace(record, raft_id=7, node_id="n3"),  # the address of another
            replace(record, raft_id=7, address="n9:7000"),  # the name of a member in contact
            replace(record, node_id="n9", address="n9:7000"),  # another name for the same node
        ):
            assert isinstance(await refusal(membership.admit(wrong, "")), Conflict)
        assert leader.names == {"n1", "n2"}

    with_cluster(story)


def test_a_wiped_node_takes_its_name_again_when_the_old_one_is_silent() -> None:
    async def story(leader: FakeNode, fresh: FakeNode) -> None:
        membership = membership_of(leader.engine, leader.config)
        old = record_of(fresh)
        await membership.admit(old, "")
        leader.fake.silent_ms[old.raft_id] = 60_000
        await membership.admit(replace(old, raft_id=7), "")
        assert leader.fake.realm is not None
        assert set(leader.fake.realm.members) == {leader.fake.raft_id, 7}

    with_cluster(story)


def test_an_older_version_is_refused() -> None:
    async def story(leader: FakeNode, fresh: FakeNode) -> None:
        admit = membership_of(leader.engine, leader.config).admit(
            replace(record_of(fresh), log_version=0), ""
        )
        error = await refusal(admit)
        assert isinstance(error, Unsupported)
        assert "upgrade it first" in str(error)

    with_cluster(story)


def test_an_operator_invites_a_node_by_its_address() -> None:
    async def story(leader: FakeNode, fresh: FakeNode) -> None:
        async def join(node_id: str, address: str) -> KonsulError | None:
            body = {"op": "join", "node_id": node_id, "address": address, "token": ""}
            return await refusal(on_leader(leader.engine, leader.config, body))

        error = await join("n9", "n2:7000")
        assert isinstance(error, Invalid)
        assert "is called n2" in str(error)
        assert await join("n2", "n2:7000") is None
        assert await join("n2", "n2:7000") is None
        assert fresh.fake.realm is leader.fake.realm

    with_cluster(story)


def test_an_invited_node_with_a_token_wants_to_see_it() -> None:
    async def story(leader: FakeNode, fresh: FakeNode) -> None:
        guarded = FakeNode(leader.fake.wire, "n3", JOIN_TOKEN=TOKEN)
        del fresh
        body = {"op": "join", "node_id": "n3", "address": "n3:7000", "token": ""}
        assert isinstance(await refusal(on_leader(leader.engine, leader.config, body)), Forbidden)
        assert guarded.fake.realm is None
        assert leader.names == {"n1"}

    with_cluster(story)


def test_a_running_node_that_was_taken_out_is_not_invited() -> None:
    async def story(leader: FakeNode, fresh: FakeNode) -> None:
        join = {"op": "join", "node_id": "n2", "address": "n2:7000", "token": ""}
        await on_leader(leader.engine, leader.config, join)
        await on_leader(leader.engine, leader.config, {"op": "leave", "node_id": "n2"})
        error = await refusal(on_leader(leader.engine, leader.config, join))
        assert isinstance(error, Conflict)
        assert "start it again" in str(error)
        assert leader.names == {"n1"}
        asked_there = await refusal(on_leader(fresh.engine, fresh.config, {"op": "leave", "node_id": "n1"}))
        assert isinstance(asked_there, Conflict)

    with_cluster(story)


def test_leaving_is_known_or_refused() -> None:
    async def story(leader: FakeNode, fresh: FakeNode) -> None:
        membership = membership_of(leader.engine, leader.config)
        assert isinstance(await refusal(membership.leave("n7")), NotFound)
        assert isinstance(await refusal(membership.leave("n1")), Conflict)
        await membership.admit(record_of(fresh), "")
        await membership.change("promote", fresh.fake.raft_id)
        leader.fake.silent_ms[fresh.fake.raft_id] = 60_000
        assert "would be in contact" in str(await refusal(membership.leave("n1")))
        await membership.leave("n2")
        assert leader.names == {"n1"}

    with_cluster(story)


def test_a_leader_that_leaves_hands_over_first() -> None:
    wire, nodes = three()

    async def story() -> None:
        await formed(*nodes)
        leader = membership_of(nodes[0].engine, nodes[0].config)
        for node in nodes[1:]:
            await leader.change("promote", node.fake.raft_id)
        await on_leader(nodes[2].engine, nodes[2].config, {"op": "leave", "node_id": "n1"})

    asyncio.run(story())
    assert nodes[1].names == {"n2", "n3"}
    assert wire.asked[-1][2] == "admin"


@pytest.mark.parametrize(
    "given",
    [None, {}, {"raft_id": 0}, {"raft_id": 5, "node_id": "a b"}, {"raft_id": 5, "address": "nowhere"}],
)
def test_a_record_that_is_none_is_refused(given: object) -> None:
    async def story(leader: FakeNode, fresh: FakeNode) -> None:
        node = record_of(fresh).record() | given if given else given
        if given == {}:
            node = {}
        for kind in ("hello", "join"):
            asked = fresh.fake.call("n1:7000", kind, {"node": node})
            assert isinstance(await refusal(asked), Invalid)
        assert leader.names == {"n1"}

    with_cluster(story)


def test_a_node_that_came_back_elsewhere_tells_the_leader() -> None:
    async def story(leader: FakeNode, fresh: FakeNode) -> None:
        membership = membership_of(leader.engine, leader.config)
        await membership.admit(replace(record_of(fresh), address="old:7000", version="0"), "")
        await fresh.fake.adopt(leader.fake.cluster()["cluster_id"])
        await formed(fresh)
        assert leader.fake.realm is not None
        assert leader.fake.realm.members[fresh.fake.raft_id]["address"] == "n2:7000"

    with_cluster(story)
