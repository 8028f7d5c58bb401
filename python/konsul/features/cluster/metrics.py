"""What the leader knows of every member, as metrics; there while this node leads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family

from konsul.features.cluster.autopilot import autopilot_of
from konsul.features.cluster.decisions import score
from konsul.kernel.metrics import Metric, Source


class _Autopilot:
    """Read from the leader's autopilot at each scrape."""

    def families(self, source: Source) -> Iterable[Family]:
        """The health of every server and how many voters may fail; nothing elsewhere."""
        pilot = autopilot_of(source.engine)
        if pilot is None:
            return
        state = pilot.state()
        health = GaugeMetricFamily(
            "konsul_autopilot_server_health_score",
            "Health of a server, 0 to 100, as the leader sees it.",
            labels=("server",),
        )
        settings = pilot.settings()
        for server in state["servers"]:
            health.add_metric((server.node_id,), score(server, settings) if server.healthy else 0)
        yield health
        lag = GaugeMetricFamily(
            "konsul_raft_peer_lag",
            "Entries of the leader's log that a member does not have yet.",
            labels=("server",),
        )
        silence = GaugeMetricFamily(
            "konsul_raft_peer_last_contact_seconds",
            "Time since the leader heard of a member.",
            labels=("server",),
        )
        for server in state["servers"]:
            lag.add_metric((server.node_id,), server.lag)
            silence.add_metric((server.node_id,), server.silent_ms / 1_000)
        yield lag
        yield silence
        yield GaugeMetricFamily(
            "konsul_autopilot_failure_tolerance",
            "Healthy voters that may fail before there is no quorum.",
            value=state["failure_tolerance"],
        )


METRICS: Final[tuple[Metric, ...]] = (_Autopilot(),)
