"""Background work of a node in a cluster: getting in, answering others, watching who leads, leaving well."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from konsul.engine import Caller, Engine
from konsul.errors import KonsulError
from konsul.features.cluster.certificates import Certificates
from konsul.features.cluster.cluster_log import cluster_log
from konsul.features.cluster.formation import Formation
from konsul.features.cluster.membership import administer, on_leader
from konsul.features.cluster.overview import overview
from konsul.features.cluster.recording import recorded
from konsul.features.cluster.view import FORMED, REMOVED, View, view_of
from konsul.kernel.cluster_settings import ClusterSettings
from konsul.kernel.config import Config
from konsul.kernel.logging import logger

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

WATCH_S: Final = 0.25
HANDOVER_MS: Final = 2_000
LEAVE_S: Final = 10.0
_AGAIN_S: Final = 5.0


class Forming:
    """Brings this node into its cluster and answers the nodes that ask for the same."""

    name: ClassVar[str] = "cluster"
    runs: ClassVar[Literal["everywhere", "on-leader"]] = "everywhere"

    def __init__(self, kernel: Kernel) -> None:
        self._engine, self._config = kernel.engine, kernel.config
        self._pipeline = kernel.pipeline
        self._settings = kernel.config.of(ClusterSettings)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Answers from now on; the way into the cluster goes on behind."""
        if not self._settings.enabled:
            return
        formation = Formation(self._engine, self._config)
        handlers = self._engine.handlers
        handlers.add("hello", formation.hello, open=True)
        handlers.add("join", recorded(self._pipeline, "cluster.join", formation.join), open=True)
        handlers.add("invite", formation.invite, open=True)
        handlers.add("admin", self._administer)
        handlers.add("overview", self._overview)
        self._tasks = [
            asyncio.create_task(self._form(formation), name="cluster-forming"),
            asyncio.create_task(_Watch(self._engine, self._config).run(), name="cluster-watch"),
            asyncio.create_task(
                Certificates(self._engine, cluster_log(self._config)).run(), name="cluster-certificates"
            ),
        ]

    async def stop(self) -> None:
        """Leaves if it is to, else hands leadership over; then answers no more."""
        if not self._settings.enabled:
            return
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._farewell()
        for kind in ("hello", "join", "invite", "admin", "overview"):
            del self._engine.handlers[kind]

    def health(self) -> str | None:
        """What is wrong, or None. The forming ends by itself, the others must not."""
        ended = [task.get_name() for task in self._tasks[1:2] if task.done()]
        return f"ended: {', '.join(ended)}" if ended else None

    async def _form(self, formation: Formation) -> None:
        while True:
            try:
                await formation.run()
                return
            except KonsulError as error:
                cluster_log(self._config).once("not in a cluster yet", level="warning", why=str(error))
            except Exception:
                logger().exception("forming a cluster failed")
            await asyncio.sleep(_AGAIN_S)

    async def _administer(self, _: Caller, body: dict[str, Any]) -> dict[str, Any]:
        return await administer(self._engine, self._config, body)

    async def _overview(self, _caller: Caller, _body: dict[str, Any]) -> dict[str, Any]:
        return overview(self._engine, self._config)

    async def _farewell(self) -> None:
        view = view_of(self._engine)
        if view.state != FORMED or len(view.members) < 2:
            return
        log = cluster_log(self._config)
        try:
            if self._settings.leave_on_terminate:
                body = {"op": "leave", "node_id": view.node_id}
                await asyncio.wait_for(on_leader(self._engine, self._config, body), LEAVE_S)
                log.info("left the cluster")
            elif view.leads and len(view.voters) > 1:
                await self._engine.transfer(0, HANDOVER_MS)
                log.info("leadership handed over")
        except (KonsulError, TimeoutError) as error:
            log.warning("went without a farewell", why=str(error) or type(error).__name__)


class _Watch:
    """Logs who leads and who belongs, as it changes."""

    def __init__(self, engine: Engine, config: Config) -> None:
        self._engine, self._log = engine, cluster_log(config)
        self._leader = (0, 0)
        self._members: dict[str, str] = {}
        self._state = ""
        self._heard = 0

    async def run(self) -> None:
        while True:
            status = self._engine.status()
            self._look(view_of(self._engine), int(status["term"]))
            self._hear(status.get("cluster", {}).get("net_events", ()))
            await asyncio.sleep(WATCH_S)

    def _hear(self, events: Sequence[Mapping[str, Any]]) -> None:
        """What the transport noticed: lost peers, refused connections; the core says each once a minute."""
        for event in events:
            if event["number"] > self._heard:
                self._heard = event["number"]
                self._log.say(
                    "warning" if event["warning"] else "info",
                    event["text"],
                    source=event["source"],
                    reason=event["reason"],
                    repeated=event["repeated"],
                )

    def _look(self, view: View, term: int) -> None:
        leader = view.leader
        now = (term, leader.raft_id) if leader else (0, 0)
        if leader is not None and now != self._leader:
            self._log.info(
                "leader elected",
                leader_id=leader.node_id,
                leader_addr=leader.address,
                term=term,
                is_self=view.leads,
            )
        elif leader is None and self._leader != (0, 0):
            self._log.warning("no leader", term=term)
        self._leader = now
        members = {member.node_id: member.role for member in view.members}
        for node_id in members.keys() | self._members.keys():
            before, after = self._members.get(node_id), members.get(node_id)
            if before != after and self._members:
                self._log.info("member changed", node_id=node_id, was=before, now=after)
        self._members = members
        if view.state == REMOVED and self._state != REMOVED:
            self._log.warning("this node is no member any more: it serves what it has, and takes no writes")
        self._state = view.state
