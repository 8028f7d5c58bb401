"""The node as its doors see it: engine, configuration, pipeline, features and metrics in one place."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, Literal

from konsul.engine import Engine
from konsul.kernel.guard_settings import GuardSettings
from konsul.kernel.identities import Identities
from konsul.kernel.lifecycle import Services
from konsul.kernel.lines import Lines
from konsul.kernel.metrics import Metrics
from konsul.kernel.pipeline import Pipeline, by_role
from konsul.kernel.schema import Row, compile_schema
from konsul.kernel.watch_settings import WatchSettings
from konsul.kernel.watching import Watching

if TYPE_CHECKING:
    from konsul.engine import Access
    from konsul.kernel.config import Config
    from konsul.kernel.feature import Feature

VERSION: Final = version("konsul")
BEHIND_MAX: Final = 1_000
"""Committed entries that may wait to be applied: under load there are always some."""


@dataclass(slots=True)
class Kernel:
    """One node. Built by the composition root; `phase` says how far its life has come."""

    engine: Engine
    config: Config
    features: tuple[Feature, ...]
    pipeline: Pipeline = field(default_factory=Pipeline)
    phase: Literal["starting", "serving", "stopping"] = "starting"
    started_at_s: float = field(default_factory=time.monotonic)
    hangups: list[Callable[[], None]] = field(default_factory=list)
    """Called on SIGHUP, on the loop's thread: a feature that holds files adds what reads them again."""
    metrics: Metrics = field(init=False)
    lines: Lines = field(init=False)
    services: Services = field(init=False)
    watching: Watching = field(init=False)
    identities: Identities = field(init=False)
    """Who holds connections open."""
    access: Access | None = None
    """What the policies of this node add up to; None while the ACL is off."""

    def __post_init__(self) -> None:
        declared = [metric for feature in self.features for metric in feature.metrics]
        options = self.engine.options
        node_id = options.node_name or str(options.node_id)
        self.metrics = Metrics(self.engine, self.pipeline.tally, declared, version=VERSION, node_id=node_id)
        self.lines = Lines(self.config.of(WatchSettings))
        self.identities = Identities(self.pipeline)
        self.watching = Watching(self.engine, self.pipeline, self.config.of(WatchSettings), self.identities)
        self.metrics.watching, self.metrics.lines = self.watching, self.lines
        for feature in self.features:
            if feature.install is not None:
                feature.install(self)
        if self.config.of(GuardSettings).auth_enabled and self.pipeline.authorise is None:
            self.pipeline.authorise = by_role
        services = [kind(self) for feature in self.features for kind in feature.services]
        self.services = Services(services, self.leads)

    def tables(self) -> list[type[Row]]:
        """Every table of every feature."""
        return [row for feature in self.features for row in feature.tables]

    async def start(self) -> None:
        """Starts the engine with the features' schema, then their services. Raises StartFailed."""
        await self.engine.start(compile_schema(self.tables()))
        try:
            await self.services.start()
        except BaseException:
            await self.engine.stop(0)
            raise
        self.phase = "serving"

    async def stop(self, grace_ms: int) -> None:
        """Ends the watches, stops the services, then the engine."""
        self.phase = "stopping"
        self.watching.stop()
        self.identities.stop()
        await self.services.stop()
        await self.engine.stop(grace_ms)

    def identities_changed(self) -> None:
        """Users, logins, keys or policies are not what they were: whoever is connected is looked at again.

        Call it on the loop's thread, as often as there is something new: once per turn of the loop it acts.
        """
        self.identities.recheck()

    def leads(self) -> bool:
        """True while this node is the leader."""
        return bool(self.engine.status()["role"] == "leader")

    def uptime_ms(self) -> int:
        """Time since the process was composed."""
        return round((time.monotonic() - self.started_at_s) * 1_000)

    def readiness(self) -> str | None:
        """Why the node should get no traffic now, or None when it should."""
        if self.phase != "serving":
            return f"the node is {self.phase}"
        return unready(self.engine.status())

    def ready(self) -> bool:
        """True when the node should get traffic."""
        return self.readiness() is None


def unready(status: Mapping[str, Any]) -> str | None:
    """What in the engine's status keeps a node from being ready, or None."""
    if status["stopping"]:
        return "the node is stopping"
    apart = _apart(status)
    if apart is not None:
        return apart
    raft = status["raft"]
    behind = raft["commit_index"] - raft["applied_index"]
    if behind > BEHIND_MAX:
        return f"{behind} committed log entries are not applied yet"
    if status["disk"]["stalled"]:
        return "the disk does not answer"
    return None


def _apart(status: Mapping[str, Any]) -> str | None:
    """Why the node is without the leader that it needs, or None. A single node has to lead itself."""
    cluster = status.get("cluster")
    if not cluster:
        return None if status["role"] == "leader" else "no leader"
    if cluster["state"] == "unformed":
        return "the node has not joined a cluster yet"
    if cluster["state"] == "removed":
        return "the node is no member of its cluster any more"
    if not cluster["known_leader"]:
        return "no leader"
    # It joined a moment ago: the leader knows it, and has not sent it anything yet.
    return None if status.get("tables", True) else "the cluster's tables have not reached this node yet"
