"""The cluster calls: paths, bodies and answers, against played answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from konsul.client import JoinToken
from konsul.errors import Invalid, NoLeader, NotFound, Unsupported
from tests.client.played import Doing, Played, ok, refusal, run

BOTH = pytest.mark.parametrize("both", ["sync", "async"])
READS: dict[str, Doing] = {
    "status": lambda c: c.cluster.status(),
    "leader": lambda c: c.cluster.leader(),
    "stats": lambda c: c.cluster.stats(),
    "config": lambda c: c.cluster.config(),
    "health": lambda c: c.cluster.health(),
    "digest": lambda c: c.cluster.digest(),
    "autopilot": lambda c: c.cluster.autopilot(),
}
WRITES: list[tuple[Doing, str, str, Any]] = [
    (
        lambda c: c.cluster.join("n2", "h:7000", join_token="s"),
        "POST",
        "join",
        {"node_id": "n2", "address": "h:7000", "join_token": "s"},
    ),
    (lambda c: c.cluster.join("n2", "h:7000"), "POST", "join", {"node_id": "n2", "address": "h:7000"}),
    (lambda c: c.cluster.leave("n2"), "DELETE", "leave/n2", None),
    (lambda c: c.cluster.snapshot(), "POST", "snapshot", {}),
    (lambda c: c.cluster.transfer_leader(), "POST", "transfer-leader", {}),
    (lambda c: c.cluster.transfer_leader("n3"), "POST", "transfer-leader", {"node_id": "n3"}),
    (lambda c: c.cluster.set_autopilot({"a": True}), "PUT", "autopilot", {"a": True}),
    (lambda c: c.cluster.delete_join_token("t1"), "DELETE", "join-token/t1", None),
]


@BOTH
@pytest.mark.parametrize("name", READS)
def test_a_read_hands_out_the_document(both: str, name: str) -> None:
    played = Played(ok({"some": ["thing"]}))
    assert run(played, READS[name], both=both) == {"some": ["thing"]}
    assert (played.seen[0].method, played.seen[0].url.path) == ("GET", f"/cluster/{name}")


@BOTH
@pytest.mark.parametrize(("doing", "method", "path", "body"), WRITES)
def test_a_write_names_only_what_was_given(
    both: str, doing: Doing, method: str, path: str, body: Any
) -> None:
    played = Played(ok({"status": "ok"}))
    assert run(played, doing, both=both) == {"status": "ok"}
    seen = played.seen[0]
    assert (seen.method, seen.url.path) == (method, f"/cluster/{path}")
    assert (json.loads(seen.content) if seen.content else None) == body


@BOTH
def test_peers_keep_what_the_server_adds(both: str) -> None:
    one = {"id": "n1", "address": "h:7000", "state": "Voter", "lag": 3}
    peers = run(Played(ok({"count": 1, "peers": [one]})), lambda c: c.cluster.peers(), both=both)
    assert [(peer.id, peer.address, peer.state, peer.document["lag"]) for peer in peers] == [
        ("n1", "h:7000", "Voter", 3)
    ]


@BOTH
def test_a_join_token_is_shown_once_and_never_in_a_repr(both: str) -> None:
    document = {"id": "t1", "token": "hush", "uses_left": 1, "expires_at": "2026-01-02T03:04:05Z"}
    played = Played(ok(document))
    token = run(played, lambda c: c.cluster.create_join_token(ttl="24h", uses=1), both=both)
    expires = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert token == JoinToken("t1", "hush", 1, expires)
    assert "hush" not in repr(token)
    assert json.loads(played.seen[0].content) == {"ttl": "24h", "uses": 1}
    listed = run(Played(ok({"tokens": [{"id": "t1"}]})), lambda c: c.cluster.join_tokens(), both=both)
    assert listed == (JoinToken("t1"),)


@BOTH
def test_refusals_have_classes(both: str) -> None:
    off = Played(refusal(503, "clustering not enabled", "start with KONSUL_RAFT_ENABLED=true"))
    with pytest.raises(Unsupported, match="KONSUL_RAFT_ENABLED"):
        run(off, READS["status"], both=both)
    assert len(off.seen) == 1, "a server without a cluster is not asked again"
    with pytest.raises(NotFound):
        run(Played(refusal(404, "no leader", "nobody leads")), READS["leader"], both=both)
    with pytest.raises(NoLeader):
        run(Played(refusal(503, "no leader", "nobody leads")), WRITES[2][0], both=both)
    with pytest.raises(Invalid):
        run(Played(ok()), lambda c: c.cluster.leave(""), both=both)
