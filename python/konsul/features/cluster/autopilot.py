"""Autopilot on the leader: looks every second, does what `decisions` says, and tells what it did."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal
from weakref import WeakKeyDictionary

from konsul.engine import Engine
from konsul.errors import KonsulError
from konsul.features.cluster.autopilot_config import AutopilotConfig, in_force
from konsul.features.cluster.cluster_log import cluster_log
from konsul.features.cluster.decisions import Action, Server, decide, failure_tolerance
from konsul.features.cluster.membership import membership_of
from konsul.features.cluster.observation import Observation
from konsul.features.cluster.view import View, view_of
from konsul.kernel.cluster_settings import ClusterSettings
from konsul.kernel.logging import logger, rfc3339_now

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

LOOK_S: Final = 1.0
LOOK_SOON_S: Final = 0.2
"""While somebody waits to become a voter."""
DECISIONS_MAX: Final = 50


class Autopilot:
    """Runs while this node leads."""

    name: ClassVar[str] = "autopilot"
    runs: ClassVar[Literal["everywhere", "on-leader"]] = "on-leader"

    def __init__(self, kernel: Kernel) -> None:
        self._engine, self._config = kernel.engine, kernel.config
        self._enabled = kernel.config.of(ClusterSettings).enabled
        self._observation = Observation()
        self._task: asyncio.Task[None] | None = None
        self._held_back: dict[str, str] = {}
        self._decisions: deque[dict[str, str]] = deque(maxlen=DECISIONS_MAX)

    async def start(self) -> None:
        """Begins to look, with no memory of an earlier leadership but the decisions made then."""
        if not self._enabled:
            return
        self._observation, self._held_back = Observation(), {}
        _RUNNING[self._engine] = self
        self._task = asyncio.create_task(self._run(), name="autopilot")

    async def stop(self) -> None:
        """Ends it; a change on its way is left to the log."""
        _RUNNING.pop(self._engine, None)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def health(self) -> str | None:
        """What is wrong, or None."""
        return "it ended" if self._task is not None and self._task.done() else None

    async def _run(self) -> None:
        while True:
            try:
                waits = await self._look()
            except KonsulError as error:
                cluster_log(self._config).once("autopilot could not look", level="warning", why=str(error))
                waits = False
            except Exception:
                logger().exception("autopilot failed")
                waits = False
            await asyncio.sleep(LOOK_SOON_S if waits else LOOK_S)

    async def _look(self) -> bool:
        """One look, and what follows; True while some member is on its way to a vote."""
        view = view_of(self._engine)
        if not view.leads or view.transferring:
            return False
        config = self.settings()
        servers = self.servers(view)
        plan = decide(servers, config)
        self._hold_back(dict(plan.held_back))
        if plan.action is not None:
            await self._act(plan.action)
        return config.enabled and any(not (one.voter or one.read_only) for one in servers)

    def settings(self) -> AutopilotConfig:
        """What is in force."""
        return in_force(self._engine, self._config)

    def servers(self, view: View) -> list[Server]:
        """Every member as this leader sees it now."""
        last_index = int(self._engine.status()["raft"]["last_index"])
        return self._observation.servers(view, last_index, self.settings())

    def _hold_back(self, held_back: dict[str, str]) -> None:
        for node_id, reason in held_back.items():
            if self._held_back.get(node_id) != reason:
                cluster_log(self._config).warning("autopilot holds back", node_id=node_id, reason=reason)
        self._held_back = held_back

    async def _act(self, action: Action) -> None:
        outcome = "done"
        try:
            await membership_of(self._engine, self._config).change(action.kind, action.raft_id)
        except KonsulError as error:
            outcome = f"refused: {error}"
        decision = {
            "action": action.kind,
            "node_id": action.node_id,
            "reason": action.reason,
            "outcome": outcome,
        }
        last = self._decisions[-1] if self._decisions else {}
        # One that is refused over and over is one decision.
        if {name: last.get(name) for name in decision} == decision and outcome != "done":
            return
        self._decisions.append({"at": rfc3339_now(), **decision})
        say = cluster_log(self._config)
        say.say("info" if outcome == "done" else "warning", "autopilot decided", **decision)

    def state(self) -> dict[str, Any]:
        """What it decided and holds back, and how many voters may fail."""
        servers = self.servers(view_of(self._engine))
        return {
            "servers": servers,
            "failure_tolerance": failure_tolerance(servers),
            "decisions": list(self._decisions),
            "held_back": [{"node_id": name, "reason": why} for name, why in self._held_back.items()],
        }


_RUNNING: Final[WeakKeyDictionary[Engine, Autopilot]] = WeakKeyDictionary()


def autopilot_of(engine: Engine) -> Autopilot | None:
    """The node's autopilot, None while it does not lead."""
    return _RUNNING.get(engine)
