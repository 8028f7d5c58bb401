"""Changing who is in the cluster. Runs on the leader, one change at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from konsul.engine import Engine
from konsul.errors import Busy, Conflict, Invalid, NoLeader, NotFound, Timeout, Unsupported
from konsul.features.cluster import tokens
from konsul.features.cluster.decisions import quorum
from konsul.features.cluster.view import FORMED, RECORD, REMOVED, Member, View, view_of
from konsul.kernel.address import split_address
from konsul.kernel.cluster_settings import NODE_ID_EXPECTED, ClusterSettings, is_node_id
from konsul.kernel.config import Config
from konsul.kernel.logging import logger

MEMBERS_MAX: Final = 64
CALL_MS: Final = 3_000
CHANGE_MS: Final = 10_000
HANDOVER_MS: Final = 5_000
_POLL_S: Final = 0.05
_BUSY_TRIES: Final = 20
_TEXT_MAX: Final = 256
_SILENT_ELECTIONS: Final = 2
_SILENT_MS_MIN: Final = 3_000
"""A member silent for both is out of contact: on a busy machine an election timeout is over quickly."""


class Membership:
    """Lets nodes in and takes them out; see `membership_of`."""

    def __init__(self, engine: Engine, config: Config) -> None:
        self._engine = engine
        self._settings = config.of(ClusterSettings)
        self._token = self._settings.token() if self._settings.enabled else ""
        self._one_at_a_time = asyncio.Lock()

    async def admit(self, record: Member, token: str, *, is_itself: bool = False) -> dict[str, Any]:
        """Makes a node a member that does not vote yet, or brings its record up to date.

        `is_itself`: the record came over the member's own connection.

        Raises:
            NoLeader: this node does not lead. Forbidden: the token. Unsupported: its version is too old.
            Conflict: its name or address is another's.
        """
        async with self._one_at_a_time:
            view = self._leading()
            _check_version(record, view)
            known = view.by_raft_id(record.raft_id)
            if known is not None and known.record() == record.record():
                return _welcome(view)
            named, placed = view.by_name(record.node_id), view.by_address(record.address)
            if placed is not None and record.node_id != placed.node_id:
                raise Conflict(f"address {record.address} belongs to member {placed.node_id}")
            if named is not None and named.raft_id != record.raft_id and self._is_in_contact(named, view):
                raise Conflict(f"node id {record.node_id} belongs to a member that is in contact")
            if known is not None and named is None:
                raise Conflict(f"this node is member {known.node_id}: it cannot change its node id")
            if not (is_itself and known is not None):
                await tokens.admit(
                    self._engine,
                    token,
                    record.raft_id,
                    static=self._token,
                    always=self._settings.require_join_token,
                )
            if known is not None:
                await self._change({"op": "update", **record.record()})
                return _welcome(view)
            if named is not None:
                logger().info("member replaced", node_id=named.node_id, old=named.raft_id, new=record.raft_id)
                await self._change({"op": "remove", "raft_id": named.raft_id})
            if len(view.members) >= MEMBERS_MAX:
                raise Conflict(f"the cluster has {MEMBERS_MAX} members already")
            await self._change({"op": "add", **record.record()})
            logger().info("member added", node_id=record.node_id, address=record.address)
            return _welcome(view)

    async def invite(self, node_id: str, address: str, token: str) -> dict[str, Any]:
        """Asks the node at `address` who it is, lets it in and tells it so.

        Raises:
            Invalid: it is called otherwise. Conflict: it is in another cluster. Unreachable, Timeout; as
            `admit`.
        """
        view = self._leading()
        known = view.by_name(node_id)
        if known is not None and known.address == address and self._is_in_contact(known, view):
            return {"node_id": node_id, "address": address}
        question = {"cluster_id": view.cluster_id, "token": token or self._token, "adopt": False}
        met = await self._engine.call(address, "invite", question, CALL_MS)
        record = read_record(met.get("node"))
        if record.node_id != node_id:
            raise Invalid(f"the node at {address} is called {record.node_id}")
        if met.get("state") == FORMED and met.get("cluster_id") != view.cluster_id:
            raise Conflict(f"node {node_id} is in another cluster ({met.get('cluster_id')})")
        await self.admit(record, token)
        await self._engine.call(address, "invite", question | {"adopt": True}, CALL_MS)
        return {"node_id": node_id, "address": address}

    async def leave(self, node_id: str) -> dict[str, Any]:
        """Takes a member out. The leader hands over first and lets its successor take it out.

        Raises:
            NotFound: there is no such member. Conflict: the rest would have no quorum.
        """
        view, member = await self._check_leaving(node_id)
        if member.raft_id == view.raft_id:
            successor = await self._hand_over(0)
            return await self._engine.call(successor, "admin", {"op": "leave", "node_id": node_id}, CHANGE_MS)
        async with self._one_at_a_time:
            self._leading()
            await self._change({"op": "remove", "raft_id": member.raft_id})
        logger().info("member removed", node_id=node_id, address=member.address)
        return {"node_id": node_id}

    async def transfer(self, node_id: str) -> dict[str, Any]:
        """Hands leadership to a voter, empty: to the one that is furthest. Answers who leads then.

        Raises:
            NotFound: there is no such member. Conflict: it does not vote, or nobody else does.
        """
        view = self._leading()
        member = view.by_name(node_id) if node_id else None
        if node_id and member is None:
            raise NotFound("node not found")
        if member is not None and member.raft_id == view.raft_id:
            return {"leader_id": member.node_id, "leader_addr": member.address}
        if member is not None and not member.votes:
            raise Conflict(f"node {node_id} does not vote: it cannot lead")
        if len(view.voters) < 2:
            raise Conflict("there is no other voter to lead")
        await self._hand_over(member.raft_id if member else 0)
        leader = view_of(self._engine).leader
        if leader is None:
            raise NoLeader("leadership was handed over, and the new leader is not heard of yet")
        return {"leader_id": leader.node_id, "leader_addr": leader.address}

    async def change(self, kind: str, raft_id: int) -> None:
        """Promotes, demotes or removes a member; for autopilot, which has thought about it.

        Raises:
            NoLeader: this node does not lead. Conflict, NotFound, Timeout.
        """
        async with self._one_at_a_time:
            self._leading()
            await self._change({"op": kind, "raft_id": raft_id})

    def _leading(self) -> View:
        view = view_of(self._engine)
        if not view.leads:
            raise NoLeader("this node does not lead")
        return view

    def _is_in_contact(self, member: Member, view: View) -> bool:
        if member.raft_id == view.raft_id:
            return True
        if member.last_contact_ms is None:
            # A leader in its first moments has not heard of anybody.
            return member.connected
        recent_ms = max(_SILENT_ELECTIONS * self._engine.options.election_ms, _SILENT_MS_MIN)
        return member.last_contact_ms <= recent_ms

    async def _check_leaving(self, node_id: str) -> tuple[View, Member]:
        """The member, if the rest can do without it; waits a moment for a new leader to hear of the others.

        Raises:
            NotFound, Conflict, NoLeader.
        """
        end_s = asyncio.get_running_loop().time() + self._engine.options.election_ms / 1_000
        while True:
            view = self._leading()
            member = view.by_name(node_id)
            if member is None:
                raise NotFound("node not found")
            try:
                self._check_rest(view, member)
            except Conflict:
                if len(view.voters) < 2 or asyncio.get_running_loop().time() > end_s:
                    raise
            else:
                return view, member
            await asyncio.sleep(_POLL_S)

    def _check_rest(self, view: View, member: Member) -> None:
        if not member.votes:
            return
        rest = [voter for voter in view.voters if voter is not member]
        if not rest:
            raise Conflict("the last voter cannot leave")
        sure = sum(self._is_in_contact(voter, view) for voter in rest)
        if sure < quorum(len(rest)):
            raise Conflict(
                f"without {member.node_id} only {sure} of {len(rest)} voters would be in contact, and "
                f"{quorum(len(rest))} are needed: remove the silent ones first"
            )

    async def _change(self, op: dict[str, Any]) -> None:
        """One change; waits a moment for one that a former leader left half done."""
        if op["op"] == "remove":
            await tokens.forget(self._engine, op["raft_id"])
        for _ in range(_BUSY_TRIES):
            try:
                return await self._engine.change_members(op, CHANGE_MS)
            except Busy:
                await asyncio.sleep(_POLL_S)
        return await self._engine.change_members(op, CHANGE_MS)

    async def _hand_over(self, raft_id: int) -> int:
        """Gives leadership away; the raft id of who has it then."""
        own = view_of(self._engine).raft_id
        await self._engine.transfer(raft_id, HANDOVER_MS)
        end_s = asyncio.get_running_loop().time() + HANDOVER_MS / 1_000
        while asyncio.get_running_loop().time() < end_s:
            view = view_of(self._engine)
            if view.known_leader and view.leader_raft_id not in (0, own):
                return view.leader_raft_id
            await asyncio.sleep(_POLL_S)
        raise Timeout("leadership was given away, and no new leader is heard of")


_MEMBERSHIPS: Final[WeakKeyDictionary[Engine, Membership]] = WeakKeyDictionary()


def membership_of(engine: Engine, config: Config) -> Membership:
    """The one membership of a node."""
    found = _MEMBERSHIPS.get(engine)
    if found is None:
        found = _MEMBERSHIPS[engine] = Membership(engine, config)
    return found


def read_record(given: object) -> Member:
    """A node's record as it came over the wire.

    Raises:
        Invalid: a member is missing, of another kind, or too long.
    """
    if not isinstance(given, Mapping):
        raise Invalid("a node's record is missing")
    raft_id, log_version, read_only = (given.get(name) for name in ("raft_id", "log_version", "read_only"))
    texts = {name: given.get(name) for name in RECORD if name not in ("log_version", "read_only")}
    for name, text in texts.items():
        if not isinstance(text, str) or len(text) > _TEXT_MAX or not text.isprintable():
            raise Invalid(f"a node's record has no {name}")
    if type(raft_id) is not int or not 1 <= raft_id < 2**48:
        raise Invalid("a node's record has no raft_id")
    if type(log_version) is not int or not 0 <= log_version < 2**32 or type(read_only) is not bool:
        raise Invalid("a node's record is not whole")
    if not is_node_id(str(texts["node_id"])):
        raise Invalid(f"node_id: expected {NODE_ID_EXPECTED}")
    check_address(str(texts["address"]))
    checked: dict[str, Any] = {
        "raft_id": raft_id,
        "log_version": log_version,
        "read_only": read_only,
        **texts,
    }
    return Member(**checked)


def check_address(address: str) -> None:
    """Raises Invalid for what is no `host:port`."""
    try:
        split_address(address)
    except ValueError:
        raise Invalid(f"invalid address {address!r}: expected host:port") from None


def _check_version(record: Member, view: View) -> None:
    own = view.by_raft_id(view.raft_id)
    if own is not None and record.log_version < own.log_version:
        raise Unsupported(
            f"node {record.node_id} runs version {record.version}, which cannot read this cluster's log "
            f"(format {own.log_version}, it knows {record.log_version}): upgrade it first"
        )


def _welcome(view: View) -> dict[str, Any]:
    return {"cluster_id": view.cluster_id, "members": [member.address for member in view.members]}


async def administer(engine: Engine, config: Config, body: Mapping[str, Any]) -> dict[str, Any]:
    """Does what an operator asked of some node, here on the leader.

    Raises:
        KonsulError: as the operation's.
    """
    membership = membership_of(engine, config)
    match dict(body):
        case {"op": "join", "node_id": str(node_id), "address": str(address), "token": str(token)}:
            return await membership.invite(node_id, address, token)
        case {"op": "leave", "node_id": str(node_id)}:
            return await membership.leave(node_id)
        case {"op": "transfer", "node_id": str(node_id)}:
            return await membership.transfer(node_id)
    raise Unsupported("this node does not know that operation")


async def on_leader(engine: Engine, config: Config, body: dict[str, Any]) -> dict[str, Any]:
    """Runs `administer` on the leader, wherever that is.

    Raises:
        NoLeader: none is known. KonsulError: what the operation raised there.
    """
    end_s = asyncio.get_running_loop().time() + engine.options.leader_wait_ms / 1_000
    while True:
        try:
            view = view_of(engine)
            if view.leads:
                return await administer(engine, config, body)
            if view.state == REMOVED:
                raise Conflict("this node was taken out of its cluster: ask a member")
            if view.leader is None:
                raise NoLeader("no leader is known")
            return await engine.call(view.leader_raft_id, "admin", body, 2 * CHANGE_MS)
        except NoLeader:
            # An election may just be on its way; an operation refused so was not begun.
            if asyncio.get_running_loop().time() >= end_s:
                raise
        await asyncio.sleep(_POLL_S)
