"""How a node gets into its cluster: it greets those it knows, then joins theirs, or forms one with them."""

from __future__ import annotations

import asyncio
import random
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from konsul.engine import Caller, Engine
from konsul.errors import Conflict, Forbidden, KonsulError, NoLeader, Unsupported
from konsul.features.cluster import tokens
from konsul.features.cluster.cluster_log import cluster_log
from konsul.features.cluster.membership import CHANGE_MS, membership_of, read_record
from konsul.features.cluster.promises import InFile, InMemory, Promises
from konsul.features.cluster.view import FORMED, REMOVED, UNFORMED, Member, View, view_of
from konsul.kernel.address import join_address
from konsul.kernel.cluster_settings import ClusterSettings
from konsul.kernel.config import Config

HELLO_MS: Final = 1_500
ADDRESSES_MAX: Final = 64
_SOON_S: Final = 0.1
_FORMING_S: Final = 1.0
_LATER_S: Final = 5.0
_QUIET_S: Final = 3.0
"""A member that hears of no leader for so long asks whether it is still one."""
_KNOCKS_PER_ROUND: Final = 3


@dataclass(frozen=True, slots=True)
class Met:
    """What a node said when it was greeted, at the address at which it answered."""

    address: str
    node: Member
    state: str
    cluster_id: str
    known_leader: bool
    expect: int
    given: str
    promised: bool
    is_member: bool
    """Whether it counts this node among its members."""


class Formation:
    """One node's way into a cluster. `run` returns when it is in and its record there is right."""

    def __init__(self, engine: Engine, config: Config) -> None:
        self._engine = engine
        self._config = config
        self._settings = config.of(ClusterSettings)
        self._token = self._settings.token()
        self._learned: set[str] = set()
        is_durable = engine.options.backend == "durable"
        keep = InFile(Path(engine.options.data_dir)) if is_durable else InMemory()
        self.promises = Promises(self._settings.node_id, self._settings.expect, keep)

    # The node's own part

    async def run(self) -> None:
        """Gets in, if need be over and over again; then sees to it that the members know its record."""
        if view_of(self._engine).state == UNFORMED:
            await self._form()
        else:
            await self._return()
        self.promises.forget()
        await self._keep_record()

    async def _form(self) -> None:
        delay_s = _SOON_S
        while view_of(self._engine).state == UNFORMED:
            met = await self._greet_all()
            if await self._step(met):
                return
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311 - only spreads load
            # Nodes that are about to form a cluster are quick; one that waits to be let in is patient.
            patient_s = _FORMING_S if self._settings.expect else _LATER_S
            delay_s = min(delay_s * 2, patient_s)

    async def _step(self, met: list[Met]) -> bool:
        """One round; True when this node is in a cluster."""
        formed = [one for one in met if one.state == FORMED]
        if formed and self._settings.bootstrap:
            cluster_log(self._config).warning("not bootstrapping: those to join have a cluster")
        if formed:
            return await self._knock(formed)
        if self._settings.bootstrap:
            await self._bootstrap()
            return True
        if self._settings.expect and await self._stand(met):
            await self._bootstrap()
            return True
        waits_for = self._settings.expect or None
        cluster_log(self._config).once(
            "waiting for a cluster", met=sorted(one.node.node_id for one in met), expected_nodes=waits_for
        )
        return False

    async def _bootstrap(self) -> None:
        await self._engine.bootstrap(CHANGE_MS)
        cluster_log(self._config).info("cluster formed", cluster_id=view_of(self._engine).cluster_id)

    async def _stand(self, met: list[Met]) -> bool:
        """Asks for promises if it is this node's turn; True if it is the one to bootstrap."""
        for one in met:
            if one.node.node_id == self._settings.node_id:
                cluster_log(self._config).once(
                    "another node has this node's id", level="error", address=one.address
                )
                return False
        fresh = [one for one in met if one.state == UNFORMED and one.expect == self._settings.expect]
        seen = {self._settings.node_id} | {one.node.node_id for one in fresh}
        round_number = self.promises.stand(seen)
        if round_number is None:
            return False
        answers = await asyncio.gather(*(self._greet(one.address, ask=True) for one in fresh))
        for answer in answers:
            if answer is not None and answer.promised:
                self.promises.granted(answer.node.node_id, round_number)
        return self.promises.wins(round_number)

    async def _knock(self, formed: list[Met]) -> bool:
        """Asks members for entry, those with a leader first."""
        record = self._record()
        for one in sorted(formed, key=lambda one: not one.known_leader)[:_KNOCKS_PER_ROUND]:
            question = {"node": record.record(), "token": self._token}
            try:
                welcome = await self._engine.call(one.address, "join", question, 2 * CHANGE_MS)
                await self._engine.adopt(str(welcome.get("cluster_id")), CHANGE_MS)
            except KonsulError as error:
                cluster_log(self._config).once(
                    "not let in yet", level="warning", by=one.address, why=str(error)
                )
                continue
            cluster_log(self._config).info(
                "joined", cluster_id=welcome.get("cluster_id"), by=one.address, as_raft_id=record.raft_id
            )
            return True
        return False

    async def _return(self) -> None:
        """A node with data comes back by itself, unless it was taken out while it was away."""
        started_s = asyncio.get_running_loop().time()
        while not await self._is_back():
            view = view_of(self._engine)
            if asyncio.get_running_loop().time() - started_s >= _QUIET_S:
                met = [one for one in await self._greet_all() if one.cluster_id == view.cluster_id]
                is_out = view.state == REMOVED
                if any(one.known_leader and (is_out or not one.is_member) for one in met):
                    cluster_log(self._config).once("taken out of the cluster: asking to be let in again")
                    if await self._knock(met):
                        # Once: who is taken out from now on was told to go, and stays out.
                        return
            await asyncio.sleep(_SOON_S * 5)

    async def _is_back(self) -> bool:
        """True when a leader is heard of, and still is a moment later: the log may yet say that it is out."""
        for wait_s in (_SOON_S * 5, 0.0):
            view = view_of(self._engine)
            if not view.known_leader or view.state != FORMED:
                return False
            await asyncio.sleep(wait_s)
        return True

    async def _keep_record(self) -> None:
        """A node that came back elsewhere, or as a newer version, tells the leader."""
        delay_s = _SOON_S
        while True:
            view = view_of(self._engine)
            known, own = view.by_raft_id(view.raft_id), self._record()
            if known is None or known.record() == own.record():
                # Not there yet: the leader's log brings the record this node joined with.
                if known is not None:
                    return
            elif view.known_leader:
                await self._tell(view, own)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, _LATER_S)

    async def _tell(self, view: View, own: Member) -> None:
        try:
            if view.leads:
                await membership_of(self._engine, self._config).admit(own, self._token, is_itself=True)
            else:
                question = {"node": own.record(), "token": self._token}
                await self._engine.call(view.leader_raft_id, "join", question, 2 * CHANGE_MS)
        except KonsulError as error:
            cluster_log(self._config).once(
                "its record is not up to date yet", level="warning", why=str(error)
            )

    async def _greet_all(self) -> list[Met]:
        addresses = await self._addresses()
        found = await asyncio.gather(*(self._greet(address) for address in addresses))
        own = view_of(self._engine).raft_id
        return [one for one in found if one is not None and one.node.raft_id != own]

    async def _greet(self, address: str, *, ask: bool = False) -> Met | None:
        """What the node at `address` says of itself; None if it does not answer, or not sensibly."""
        promised_before = self.promises.given
        question = {
            "node": self._record().record(),
            "expect": self._settings.expect,
            "ask": ask,
            "token": self._token,
        }
        try:
            said = await self._engine.call(address, "hello", question, HELLO_MS)
            node = read_record(said.get("node"))
        except KonsulError as error:
            cluster_log(self._config).once("no answer", level="debug", address=address, why=str(error))
            return None
        met = Met(
            address=address,
            node=node,
            state=str(said.get("state")),
            cluster_id=str(said.get("cluster_id")),
            known_leader=said.get("known_leader") is True,
            expect=said["expect"] if type(said.get("expect")) is int else 0,
            given=str(said.get("given") or ""),
            promised=said.get("promised") is True,
            is_member=said.get("is_member") is True,
        )
        # Only what was said after the promise counts: an older answer may still be on its way.
        if met.state == UNFORMED and promised_before == node.node_id:
            self.promises.released(node.node_id, met.given)
        return met

    async def _addresses(self) -> list[str]:
        """Whom to greet: as configured, as found by DNS, as met, and members known from before."""
        settings, options = self._settings, self._engine.options
        named = [address for name, address in settings.peers if name != settings.node_id]
        found = [*settings.join, *named, *settings.discovery_seeds]
        if settings.discovery_method == "dns":
            found += await self._resolve(settings.discovery_domain, settings.discovery_port)
        view = view_of(self._engine)
        found += [member.address for member in view.members if member.raft_id != view.raft_id]
        found += sorted(self._learned)
        own = {options.advertise_addr or options.bind_addr, options.bind_addr}
        return [address for address in dict.fromkeys(found) if address not in own][:ADDRESSES_MAX]

    async def _resolve(self, domain: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.getaddrinfo(domain, port, type=socket.SOCK_STREAM)
        except OSError as error:
            cluster_log(self._config).once(
                "no address by DNS", level="warning", domain=domain, why=str(error)
            )
            return []
        return [join_address(str(answer[4][0]), port) for answer in answers]

    def _record(self) -> Member:
        """What this node says of itself."""
        options, cluster = self._engine.options, self._engine.cluster()
        return Member(
            raft_id=cluster["raft_id"],
            node_id=options.node_name,
            address=options.advertise_addr or options.bind_addr,
            http_address=options.http_addr,
            zone=options.zone,
            version=options.version,
            log_version=cluster.get("log_version", 1),
            read_only=options.read_only,
        )

    # What others ask

    async def hello(self, _: Caller, body: dict[str, Any]) -> dict[str, Any]:
        """Says who this node is; gives its promise to whom asks for it and may have it."""
        node = read_record(body.get("node"))
        view = view_of(self._engine)
        is_trusted = not self._token or tokens.same(str(body.get("token") or ""), self._token)
        promised = False
        if view.state == UNFORMED and is_trusted and self._settings.expect:
            if len(self._learned) < ADDRESSES_MAX:
                self._learned.add(node.address)
            if body.get("ask") is True and type(body.get("expect")) is int:
                promised = self.promises.asked(node.node_id, body["expect"])
        return {
            "node": self._record().record(),
            "state": view.state,
            "cluster_id": view.cluster_id,
            "known_leader": view.known_leader,
            "expect": self._settings.expect,
            "given": self.promises.given,
            "promised": promised,
            "is_member": view.by_raft_id(node.raft_id) is not None,
        }

    async def join(self, caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
        """Lets a node in, by way of the leader."""
        node = read_record(body.get("node"))
        try:
            return await self._let_in(caller, node, body)
        except (Forbidden, Conflict, Unsupported) as error:
            # Who guesses tokens is seen; and as it may guess without end, it is one line a minute.
            cluster_log(self._config).at_times(
                "a node was refused",
                source=caller.address.rpartition(":")[0],
                node_id=node.node_id,
                address=node.address,
                why=str(error),
            )
            raise

    async def _let_in(self, caller: Caller, node: Member, body: dict[str, Any]) -> dict[str, Any]:
        # A member that relays says for whom it speaks; a stranger's word for that counts nothing.
        is_itself = caller.raft_id == node.raft_id or (caller.raft_id != 0 and body.get("is_itself") is True)
        token = str(body.get("token") or "")
        view = view_of(self._engine)
        if view.state != FORMED:
            raise NoLeader("this node is in no cluster itself")
        if view.leads:
            membership = membership_of(self._engine, self._config)
            return await membership.admit(node, token, is_itself=is_itself)
        if view.leader is None or body.get("relayed") is True:
            raise NoLeader("no leader is known")
        question = {"node": node.record(), "token": token, "is_itself": is_itself, "relayed": True}
        return await self._engine.call(view.leader_raft_id, "join", question, CHANGE_MS)

    async def invite(self, _: Caller, body: dict[str, Any]) -> dict[str, Any]:
        """An operator wants this node in a cluster: says who it is, then goes in."""
        view = view_of(self._engine)
        if self._token and not tokens.same(str(body.get("token") or ""), self._token):
            raise Forbidden("this node joins only with its own join token")
        if view.state == REMOVED:
            # A member again by name only: a running node that was taken out follows nobody any more.
            raise Conflict("this node was taken out of its cluster: start it again, and it asks to be let in")
        if view.state == UNFORMED and body.get("adopt") is True:
            if self.promises.is_decided:
                raise Conflict("this node is forming a cluster of its own")
            await self._engine.adopt(str(body.get("cluster_id")), CHANGE_MS)
            cluster_log(self._config).info("invited", cluster_id=body.get("cluster_id"))
            view = replace(view, state=FORMED, cluster_id=str(body.get("cluster_id")))
        return {"node": self._record().record(), "state": view.state, "cluster_id": view.cluster_id}
