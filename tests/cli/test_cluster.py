"""`konsulctl cluster` against laid-out answers: what is asked, what is printed, how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.console import Console
from tests.cli.played_cluster import LEADERLESS, PEERS, STATS, STATUS, PlayedCluster, played

TEXT = """\
Node ID:       n2
State:         Follower
Leader ID:     n1
Leader Addr:   127.0.0.1:7001
Cluster:       healthy, quorum 2 of 2
Last Index:    21
Applied Idx:   20
Commit Index:  21

Peers (3):
- n1  127.0.0.1:7001  [Voter]     leader    lag 0     zone a
- n2  127.0.0.1:7002  [Voter]     follower  lag 7     zone b
- n3  127.0.0.1:7003  [Nonvoter]  learner   lag 5000  zone c

Raft Stats:
  Term:            2
  Last Log Index:  21
  Last Log Term:   2
  Commit Index:    21
  Applied Index:   20
  Pending:         1
  Last Snapshot:   19
  Snapshot Term:   2
  Peers:           3
"""
OK = {"status": "ok", "message": "Node joined successfully", "node_id": "n4", "address": "h:7000"}


@pytest.fixture
def play(console: Console, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedCluster]:
    with played() as play:
        monkeypatch.setenv("KONSUL_SERVER", play.address)
        play.say("GET /cluster/status", STATUS)
        play.say("GET /cluster/peers", {"count": 3, "peers": PEERS})
        play.say("GET /cluster/stats", STATS)
        play.say("POST /cluster/join", OK)
        play.say("DELETE /cluster/leave/n4", {"status": "ok", "message": "Node removed", "node_id": "n4"})
        yield play


def test_status(console: Console, play: PlayedCluster) -> None:
    assert console.ok("cluster", "status").text == TEXT
    assert console.ok("cluster", "status", "--quiet").text == "healthy\n"
    assert console.ok("cluster", "status", "--output", "json").json() == STATUS
    table = [line.split() for line in console.ok("cluster", "status", "-output", "table").text.splitlines()]
    assert table[0] == ["id", "address", "state", "role", "lag", "zone"]
    assert table[3] == ["n3", "127.0.0.1:7003", "Nonvoter", "learner", "5000", "c"]


def test_status_while_nobody_leads(console: Console, play: PlayedCluster) -> None:
    play.say("GET /cluster/status", LEADERLESS)
    text = console.ok("cluster", "status").text
    assert "Leader ID:     none\n" in text
    assert "Cluster:       unavailable, quorum 2 of 2\n" in text
    assert "- n3  127.0.0.1:7003  [Nonvoter]  unknown  zone c\n" in text


def test_status_of_a_plain_server(console: Console, play: PlayedCluster) -> None:
    refusal = {"error": "clustering not enabled", "message": "set KONSUL_RAFT_ENABLED"}
    play.say("GET /cluster/status", refusal, 503)
    said = console("cluster", "status")
    assert (said.code, said.text) == (2, "")
    assert "Error getting cluster status: server error: clustering not enabled - set" in said.errors
    assert len(play.asked) == 1, "asking again would not change it"


def test_leader(console: Console, play: PlayedCluster) -> None:
    known = {"is_self": True, "leader_addr": "127.0.0.1:7001", "leader_id": "n1"}
    play.say("GET /cluster/leader", known)
    text = "Leader ID:    n1\nLeader Addr:  127.0.0.1:7001\n\nThe server asked is the leader.\n"
    assert console.ok("cluster", "leader").text == text
    assert console.ok("cluster", "leader", "--quiet").text == "n1\n"
    assert console.ok("cluster", "leader", "--output", "json").json() == known
    play.say("GET /cluster/leader", {"error": "no leader", "message": "no leader is known"}, 404)
    said = console("cluster", "leader")
    assert (said.code, said.errors) == (3, "Error getting cluster leader: no leader is known\n")


def test_peers(console: Console, play: PlayedCluster) -> None:
    lines = console.ok("cluster", "peers").text.splitlines()
    assert lines[0] == "Peers (3):"
    assert lines[3] == "  n3  127.0.0.1:7003  [Nonvoter]"
    assert console.ok("cluster", "peers", "--output", "json").json() == PEERS
    assert console.ok("cluster", "peers", "--quiet").text == "n1\nn2\nn3\n"


def test_stats(console: Console, play: PlayedCluster) -> None:
    assert "Last Log Index:  21\n" in console.ok("cluster", "stats").text
    assert console.ok("cluster", "stats", "--output", "json").json() == STATS


@pytest.mark.parametrize(
    "args",
    [("n4", "h:7000"), ("--address", "h:7000", "--node-id", "n4"), ("n4", "--address=h:7000")],
)
def test_join(console: Console, play: PlayedCluster, args: tuple[str, ...]) -> None:
    said = console.ok("cluster", "join", *args)
    assert said.text == "n4 (h:7000) joined successfully\nNode joined successfully\n"
    assert play.last == ("POST /cluster/join", {"node_id": "n4", "address": "h:7000"})


def test_join_with_a_token_from_a_file_from_input_or_the_environment(
    console: Console, play: PlayedCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    path.write_text("s3cret\n")
    join = ("cluster", "join", "n4", "h:7000")
    body = {"node_id": "n4", "address": "h:7000", "join_token": "s3cret"}
    for flag in ("--token-file", "--join-token-file"):
        console.ok(*join, flag, str(path))
        assert play.last[1] == body
    console.ok(*join, "--token-file", "-", stdin=b"s3cret")
    assert play.last[1] == body
    monkeypatch.setenv("KONSUL_RAFT_JOIN_TOKEN", "s3cret")
    console.ok(*join)
    assert play.last[1] == body
    path.write_text("\n")
    said = console(*join, "--token-file", str(path))
    assert (said.code, "holds no token: it is empty" in said.errors) == (2, True)


@pytest.mark.parametrize(
    "args", [(), ("n4",), ("n4", "h:7000", "--node-id", "n4"), ("n4", "h:1", "--address", "h:1")]
)
def test_join_wants_each_thing_once(console: Console, play: PlayedCluster, args: tuple[str, ...]) -> None:
    said = console("cluster", "join", *args)
    assert said.code == 2
    assert "once, as " in said.errors
    assert play.asked == []


@pytest.mark.parametrize("args", [("n4",), ("--node", "n4"), ("--node-id=n4",)])
def test_leave(console: Console, play: PlayedCluster, args: tuple[str, ...]) -> None:
    gone = 'Node "n4" removed from cluster\nNode removed\n'
    assert console.ok("cluster", "leave", *args, "--yes").text == gone
    said = console("cluster", "leave", *args, stdin=b"Yes\n")
    question = 'Are you sure you want to remove node "n4" from the cluster? (yes/no): '
    assert (said.code, said.text, said.errors) == (0, gone, question)
    asked = len(play.asked)
    said = console("cluster", "leave", *args, stdin=b"no\n")
    assert (said.code, said.text, said.errors) == (0, "", question + "Removal canceled\n")
    said = console("cluster", "leave", *args)
    assert (said.code, "--yes goes on without asking" in said.errors) == (2, True)
    assert len(play.asked) == asked


def test_leave_of_nobody(console: Console, play: PlayedCluster) -> None:
    play.say("DELETE /cluster/leave/n9", {"error": "Not Found", "message": "Node n9 is no member"}, 404)
    said = console("cluster", "leave", "n9", "--yes")
    assert (said.code, said.errors) == (3, "Error removing node: node n9 is no member\n")


def test_snapshot(console: Console, play: PlayedCluster) -> None:
    play.say("POST /cluster/snapshot", {"status": "ok", "message": "Snapshot created successfully"})
    said = console.ok("cluster", "snapshot")
    assert said.text == "Snapshot triggered: Snapshot created successfully\n"
    play.say("POST /cluster/snapshot", {"error": "nothing new to snapshot"}, 500)
    said = console("cluster", "snapshot")
    assert (said.code, "nothing new to snapshot" in said.errors) == (1, True)


@pytest.mark.parametrize("action", ["transfer", "transfer-leadership"])
def test_transfer(console: Console, play: PlayedCluster, action: str) -> None:
    play.say("POST /cluster/transfer-leader", {"status": "ok", "message": "n2 leads"})
    assert console.ok("cluster", action, "--to", "n2").text == "Leadership transferred\nn2 leads\n"
    assert play.last == ("POST /cluster/transfer-leader", {"node_id": "n2"})
    console.ok("cluster", action)
    assert play.last == ("POST /cluster/transfer-leader", {})
