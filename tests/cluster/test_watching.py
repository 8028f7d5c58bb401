"""Watchers on every node while nodes die, restart and are cut off: each change once and in order, or a
listing in the place of those that are missing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from konsul.client.pursuit import Transport
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.stories import fresh_key
from tests.cluster.harness.witnesses import Witness, Writer
from tests.conftest import SMALL, LiveServer
from tests.waiting import until

TRANSPORTS: tuple[Transport, ...] = ("sse", "websocket")
LONG = "." * 8_000
"""Makes changes so large that the kernel's buffers do not hold those that a reader leaves unread."""


def addresses(cluster: Cluster, first: str) -> list[str]:
    """Every node's, that of `first` before the others'."""
    return sorted(
        (node.base_url for node in cluster.nodes.values()),
        key=lambda url: url != cluster.nodes[first].base_url,
    )


@contextmanager
def watched(
    writer_at: Sequence[str], watchers_at: Sequence[Sequence[str]], padding: str = ""
) -> Iterator[tuple[Writer, list[Witness]]]:
    """A writer, and two watchers at each list of addresses. At the end all of them are compared."""
    prefix = f"{fresh_key('watched')}/"
    with ExitStack() as stack:
        writer = stack.enter_context(Writer(writer_at, prefix, padding))
        # Each transport at each place; at every second place through the client for asyncio.
        witnesses = [
            Witness(one, f"{prefix}**", writer.last, transport, both)
            for one, both in zip(watchers_at, itertools.cycle(("sync", "async")), strict=False)
            for transport in TRANSPORTS
        ]
        for witness in witnesses:
            stack.callback(witness.close)
        yield writer, witnesses
        writer.stop()
        for witness in witnesses:
            witness.until_told(writer.last, writer.entries[writer.last][-1])
            witness.check(writer)


@pytest.mark.timeout(400)
def test_each_change_comes_once_while_the_leader_dies_and_nodes_restart(trio: Cluster) -> None:
    everybody = addresses(trio, "n1")
    with watched(everybody, [addresses(trio, name) for name in trio.nodes]) as (writer, _):
        writer.until_more(50)
        leader = trio.until_leader()
        leader.kill()
        writer.until_more(50)
        leader.launch()
        trio.until_ready(leader)
        writer.until_more(20)
        for node in trio.followers():
            assert node.stop() == 0, node.log_tail()
            writer.until_more(20)
            node.launch()
            trio.until_ready(node)
        writer.until_more(20)
    trio.until_alike()


@pytest.mark.timeout(300)
def test_each_change_comes_once_from_a_follower_that_was_cut_off(trio: Cluster) -> None:
    leader, follower = trio.until_leader(), trio.followers()[0]
    assert trio.links is not None
    everybody = addresses(trio, leader.name)
    with watched(everybody, [[follower.base_url], addresses(trio, follower.name)]) as (writer, witnesses):
        writer.until_more(20)
        trio.links.part([follower.name], [name for name in trio.nodes if name != follower.name])
        writer.until_more(60)
        trio.links.heal()
        trio.until_ready(follower)
        writer.until_more(20)
    assert [one.relisted for one in witnesses] == [[]] * 4, "the follower applied every entry itself"


@pytest.mark.timeout(300)
def test_each_change_comes_once_when_the_leadership_is_handed_over(trio: Cluster) -> None:
    with watched(addresses(trio, "n1"), [addresses(trio, name) for name in trio.nodes]) as (
        writer,
        witnesses,
    ):
        for _ in range(3):
            writer.until_more(20)
            target = trio.followers()[0]
            trio.until_leader().ask("POST", "/cluster/transfer-leader", {"node_id": target.name})
        writer.until_more(20)
    assert [one.relisted for one in witnesses] == [[]] * 6, "nobody's connection even ended"


@pytest.mark.timeout(300)
def test_a_watcher_of_a_node_that_took_a_snapshot_lists_again(tmp_path: Path) -> None:
    settings = {
        "KONSUL_RAFT_SNAPSHOT_THRESHOLD": "50",
        "KONSUL_RAFT_SNAPSHOT_INTERVAL": "100ms",
        "KONSUL_RAFT_TRAILING_LOGS": "10",
    }
    with Cluster(tmp_path / "snapshots", settings=settings) as cluster:
        node = cluster.followers()[0]
        others = [one.base_url for one in cluster.nodes.values() if one is not node]
        with watched(others, [[node.base_url]]) as (writer, witnesses):
            writer.until_more(10)
            node.kill()
            writer.until_more(300)
            node.launch()
            cluster.until_ready(node)
            writer.until_more(20)
        assert [len(one.relisted) for one in witnesses] == [1, 1]


@pytest.mark.timeout(300)
def test_a_single_node_is_killed_again_and_again(tmp_path: Path) -> None:
    with (
        LiveServer(tmp_path / "data", SMALL) as server,
        watched([server.base_url], [[server.base_url]] * 2) as (writer, _),
    ):
        for _ in range(4):
            writer.until_more(50)
            server.restart()
        writer.until_more(20)


@pytest.mark.timeout(300)
def test_a_quiet_watcher_needs_no_listing_after_a_restart(tmp_path: Path) -> None:
    with LiveServer(tmp_path / "data", SMALL) as server:
        with watched([server.base_url], [[server.base_url]]) as (writer, witnesses):
            writer.until_more(10)
            writer.stop()
            for one in witnesses:
                one.until_told(writer.last, writer.entries[writer.last][-1])
            server.restart()
        assert [one.relisted for one in witnesses] == [[], []]


@pytest.mark.timeout(300)
def test_a_reader_too_slow_for_the_ring_lists_again(tmp_path: Path) -> None:
    few = {"KONSUL_WATCH_RING_ENTRIES": "500", "KONSUL_WATCH_BUFFER_SIZE": "50"}
    with LiveServer(tmp_path / "data", SMALL | few) as server:
        with watched([server.base_url], [[server.base_url]] * 2, LONG) as (writer, witnesses):
            slow = witnesses[:2]
            until(lambda: all(one.events for one in slow), "the first changes")
            for one in slow:
                one.pause()
            writer.until_more(400)
            for one in slow:
                one.resume()
            writer.until_more(20)
        assert all(one.relisted for one in slow)
        assert not any(one.relisted for one in witnesses[2:])
