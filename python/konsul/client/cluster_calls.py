"""The calls of the cluster routes. Documents come as the server words them: they grow with it, and a client
of an older version must still show them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from konsul.client.kv_calls import moment
from konsul.client.model import Document, JoinToken, Peer
from konsul.client.request import JSON, Answer, Call, Request, segment
from konsul.errors import Invalid


def status() -> Call[Document]:
    """The answering node's view of the cluster: its role, the leader, the nodes, the indices."""
    return _read("status")


def leader() -> Call[Document]:
    """Who leads. The result raises NotFound while nobody does."""
    return _read("leader")


def peers() -> Call[tuple[Peer, ...]]:
    """Every member with its standing."""
    return Call(_get("peers"), lambda answer: tuple(_peer(one) for one in answer.json()["peers"]))


def stats() -> Call[Document]:
    """The Raft figures of the answering node."""
    return _read("stats")


def config() -> Call[Document]:
    """The Raft configuration in force."""
    return _read("config")


def health() -> Call[Document]:
    """What autopilot thinks of the servers."""
    return _read("health")


def digest() -> Call[Document]:
    """A checksum over the answering node's tables, and the index it holds at: equal means equal tables."""
    return _read("digest")


def join(node_id: str, address: str, join_token: str | None = None) -> Call[Document]:
    """Add the node that listens for peers at `address` (host:port). Doing it again changes nothing."""
    body = {"node_id": _id(node_id), "address": address, "join_token": join_token}
    return _write("POST", "join", body, repeatable=True)


def leave(node_id: str) -> Call[Document]:
    """Take a member out. The result raises NotFound for one that is none."""
    path = f"/cluster/leave/{segment(_id(node_id))}"
    return Call(Request("DELETE", path, "DELETE /cluster/leave/{id}"), Answer.json)


def snapshot() -> Call[Document]:
    """Make the answering node take a snapshot now."""
    return _write("POST", "snapshot", {})


def transfer_leader(node_id: str | None = None) -> Call[Document]:
    """Hand leadership to a member; None: to the one that is furthest."""
    return _write("POST", "transfer-leader", {"node_id": node_id})


def autopilot() -> Call[Document]:
    """Autopilot's settings and what it sees."""
    return _read("autopilot")


def set_autopilot(settings: Mapping[str, Any]) -> Call[Document]:
    """Change the settings that are named."""
    return _write("PUT", "autopilot", settings, repeatable=True)


def create_join_token(
    ttl: str | None = None, uses: int | None = None, description: str | None = None
) -> Call[JoinToken]:
    """Make a token that lets nodes join; the server shows it this once. `ttl` is Go text (`24h`)."""
    call = _write("POST", "join-token", {"ttl": ttl, "uses": uses, "description": description})
    return Call(call.request, lambda answer: _token(answer.json()))


def join_tokens() -> Call[tuple[JoinToken, ...]]:
    """The tokens that are still good, without their secrets."""
    return Call(_get("join-token"), lambda answer: tuple(_token(one) for one in answer.json()["tokens"]))


def delete_join_token(token_id: str) -> Call[Document]:
    """Make a token useless. The result raises NotFound for one that is not there."""
    path = f"/cluster/join-token/{segment(_id(token_id))}"
    return Call(Request("DELETE", path, "DELETE /cluster/join-token/{id}"), Answer.json)


def _get(name: str) -> Request:
    return Request("GET", f"/cluster/{name}", f"GET /cluster/{name}", repeatable=True)


def _read(name: str) -> Call[Document]:
    return Call(_get(name), Answer.json)


def _write(method: str, name: str, body: Mapping[str, Any], *, repeatable: bool = False) -> Call[Document]:
    present = {member: value for member, value in body.items() if value is not None}
    path = f"/cluster/{name}"
    packed = json.dumps(present).encode()
    headers = {"Content-Type": JSON}
    return Call(Request(method, path, f"{method} {path}", (), headers, packed, repeatable), Answer.json)


def _id(text: str) -> str:
    if not text:
        raise Invalid("an id is required")
    return text


def _peer(members: Mapping[str, Any]) -> Peer:
    return Peer(str(members["id"]), str(members["address"]), str(members.get("state", "")), members)


def _token(members: Mapping[str, Any]) -> JoinToken:
    uses = members.get("uses_left", members.get("uses"))
    return JoinToken(
        id=str(members.get("id", "")),
        token=str(members.get("token", "")),
        uses_left=None if uses is None else int(uses),
        expires_at=moment(members.get("expires_at")),
        description=str(members.get("description", "")),
    )
