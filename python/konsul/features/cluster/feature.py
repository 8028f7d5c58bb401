"""The cluster feature, declared."""

from __future__ import annotations

from konsul.features.cluster import commands, queries, routes, tables
from konsul.features.cluster.autopilot import Autopilot
from konsul.features.cluster.metrics import METRICS
from konsul.features.cluster.services import Forming
from konsul.kernel.feature import Feature

feature = Feature(
    name="cluster",
    tables=(tables.JoinTokenRow, tables.SettingsRow),
    commands=(
        commands.join,
        commands.leave,
        commands.transfer_leader,
        commands.snapshot,
        commands.set_autopilot,
        commands.create_join_token,
        commands.revoke_join_token,
    ),
    queries=(
        queries.status,
        queries.leader,
        queries.peers,
        queries.stats,
        queries.config,
        queries.health,
        queries.autopilot,
        queries.digest,
        queries.join_tokens,
    ),
    router=routes.router,
    services=(Forming, Autopilot),
    metrics=METRICS,
)
