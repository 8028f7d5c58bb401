"""The Grafana dashboards, written from these few lines: `python -m deploy.dashboards` renews the JSON files.

A dashboard of twenty panels is two thousand lines of JSON which nobody reads; this is what they say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).parent / "grafana"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
HERE = '{job="konsul", instance=~"$instance"}'
COLUMNS = 24
SCHEMA_VERSION = 38
Kind = Literal["timeseries", "stat", "state-timeline"]


@dataclass(frozen=True)
class Panel:
    """One graph. `queries` maps a legend to PromQL, where HERE stands for the chosen nodes."""

    title: str
    queries: Mapping[str, str]
    unit: str = "short"
    kind: Kind = "timeseries"
    width: int = 8
    about: str = ""
    words: Mapping[int, tuple[str, str]] | None = None
    """For states: what a number means, and its colour."""


@dataclass(frozen=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Dashboard:
    """One page. `marks` maps a name to PromQL whose points become vertical lines."""

    uid: str
    title: str
    rows: Sequence[Row]
    marks: Mapping[str, str]


def rate(name: str, by: str) -> str:
    """A counter per second, summed by labels."""
    return f"sum by ({by}) (rate({name}{HERE}[$__rate_interval]))"


def quantiles(name: str, by: str = "") -> dict[str, str]:
    """p50, p95 and p99 of a histogram."""
    labels = ", ".join(filter(None, ("le", by)))
    buckets = f"sum by ({labels}) (rate({name}_bucket{HERE}[$__rate_interval]))"
    legend = " {{" + by + "}}" if by else ""
    return {f"p{share}{legend}": f"histogram_quantile(0.{share}, {buckets})" for share in (50, 95, 99)}


def each(name: str) -> dict[str, str]:
    """A gauge of every node."""
    return {"{{instance}}": f"{name}{HERE}"}


def of_members(name: str) -> dict[str, str]:
    """A gauge that the leader has of every member."""
    return {"{{server}}": f"max by (server) ({name}{HERE})"}


ROLES = {0: ("follower", "blue"), 1: ("leader", "green"), 2: ("candidate", "orange")}
LEADERS = f"sum(konsul_raft_is_leader{HERE})"
RAFT = Dashboard(
    "konsul-raft",
    "Konsul cluster",
    (
        Row(
            "State",
            (
                Panel("Leaders", {"": LEADERS}, kind="stat", width=4, about="Exactly one, always."),
                Panel("Nodes up", {"": 'sum(up{job="konsul"})'}, kind="stat", width=4),
                Panel("Members", {"": f"max(konsul_raft_peers{HERE})"}, kind="stat", width=4),
                Panel("Voters", {"": f"max(konsul_raft_voters{HERE})"}, kind="stat", width=4),
                Panel(
                    "Voters that may fail",
                    {"": f"max(konsul_autopilot_failure_tolerance{HERE})"},
                    kind="stat",
                    width=4,
                ),
                Panel("Term", {"": f"max(konsul_raft_term{HERE})"}, kind="stat", width=4),
                Panel("Roles", each("konsul_raft_state"), kind="state-timeline", width=24, words=ROLES),
            ),
        ),
        Row(
            "Writes",
            (
                Panel("Proposals", {"{{instance}}": rate("konsul_raft_proposals_total", "instance")}, "ops"),
                Panel("From proposal to commit", quantiles("konsul_raft_commit_time_seconds"), "s"),
                Panel("Applying a batch", quantiles("konsul_raft_apply_time_seconds"), "s"),
                Panel(
                    "Refused before the log", {"{{instance}}": rate("konsul_raft_refusals_total", "instance")}
                ),
                Panel(
                    "Entries applied", {"{{instance}}": rate("konsul_raft_apply_total", "instance")}, "ops"
                ),
                Panel("Last sync of the log", each("konsul_raft_log_sync_seconds"), "s"),
            ),
        ),
        Row(
            "Replication",
            (
                Panel("Behind the leader", of_members("konsul_raft_peer_lag")),
                Panel("Heard by the leader", of_members("konsul_raft_peer_last_contact_seconds"), "s"),
                Panel("Health of members", of_members("konsul_autopilot_server_health_score")),
                Panel("Not applied yet", each("konsul_raft_replication_lag")),
                Panel("Commit index", each("konsul_raft_commit_index")),
                Panel("Leader heard", each("konsul_raft_last_contact_seconds"), "s"),
                Panel(
                    "Leadership gained or lost",
                    {"{{instance}}": f"increase(konsul_raft_leader_changes_total{HERE}[$__rate_interval])"},
                ),
            ),
        ),
        Row(
            "Between nodes",
            (
                Panel(
                    "Sent to peers",
                    {"{{instance}}": rate("konsul_raft_net_bytes_sent_total", "instance")},
                    "Bps",
                ),
                Panel(
                    "Frames dropped because too much waited",
                    {"{{instance}}": rate("konsul_raft_net_frames_dropped_full_total", "instance")},
                ),
                Panel(
                    "Strangers refused",
                    {
                        f"{why} {{{{instance}}}}": f"increase(konsul_raft_net_refused_{why}_total{HERE}[5m])"
                        for why in ("tls", "cluster", "garbage", "silent")
                    },
                ),
                Panel(
                    "Connections made again",
                    {"{{instance}}": rate("konsul_raft_net_reconnects_total", "instance")},
                ),
                Panel(
                    "Snapshots sent to members",
                    {"{{instance}}": f"increase(konsul_raft_snapshots_sent_total{HERE}[1h])"},
                ),
            ),
        ),
        Row(
            "Disk",
            (
                Panel("Log on disk", each("konsul_raft_log_size_bytes"), "bytes"),
                Panel(
                    "Log written", {"{{instance}}": rate("konsul_raft_log_bytes_total", "instance")}, "Bps"
                ),
                Panel("Snapshots", {"{{instance}}": f"increase(konsul_raft_snapshot_total{HERE}[1h])"}),
                Panel("Taking a snapshot", quantiles("konsul_raft_snapshot_duration_seconds"), "s"),
            ),
        ),
    ),
    {"leader changes": f"sum(changes(konsul_raft_leader_changes_total{HERE}[1m])) > 0"},
)
NODES = Dashboard(
    "konsul",
    "Konsul",
    (
        Row(
            "Overview",
            (
                Panel("Up since", {"": f"time() - min(process_start_time_seconds{HERE})"}, "s", "stat", 6),
                Panel("Services", {"": f"max(konsul_registered_services_total{HERE})"}, kind="stat", width=6),
                Panel("Keys", {"": f"max(konsul_kv_store_size{HERE})"}, kind="stat", width=6),
                Panel(
                    "Requests", {"": f"sum(rate(konsul_http_requests_total{HERE}[5m]))"}, "reqps", "stat", 6
                ),
            ),
        ),
        Row(
            "HTTP",
            (
                Panel("By status", {"{{status}}": rate("konsul_http_requests_total", "status")}, "reqps"),
                Panel("Time", quantiles("konsul_http_request_duration_seconds"), "s"),
                Panel("In flight", each("konsul_http_requests_in_flight")),
            ),
        ),
        Row(
            "Keys and services",
            (
                Panel(
                    "Keys",
                    {"{{operation}} {{status}}": rate("konsul_kv_operations_total", "operation, status")},
                ),
                Panel(
                    "Services",
                    {
                        "{{operation}} {{status}}": rate(
                            "konsul_service_operations_total", "operation, status"
                        )
                    },
                ),
                Panel("Heartbeats", {"{{status}}": rate("konsul_service_heartbeats_total", "status")}),
                Panel(
                    "Gone because silent", {"{{instance}}": rate("konsul_expired_services_total", "instance")}
                ),
                Panel("Selections", {"{{status}}": rate("konsul_load_balancer_selections_total", "status")}),
                Panel("Leases", each("konsul_leases")),
            ),
        ),
        Row(
            "Process",
            (
                Panel("Memory", each("process_resident_memory_bytes"), "bytes"),
                Panel("CPU", {"{{instance}}": rate("process_cpu_seconds_total", "instance")}, "percentunit"),
                Panel("Open files", each("process_open_fds")),
            ),
        ),
    ),
    {},
)


def document(page: Dashboard) -> dict[str, Any]:
    """The page as Grafana reads it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row in page.rows:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": top},
                "panels": [],
            }
        )
        top += 1
        left = 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                left, top = 0, top + 8
            panels.append(_panel(panel, len(panels) + 1, left, top))
            left += panel.width
        top += 8
    return {
        "uid": page.uid,
        "title": page.title,
        "tags": ["konsul"],
        "timezone": "browser",
        "schemaVersion": SCHEMA_VERSION,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "annotations": {"list": [_mark(name, query) for name, query in page.marks.items()]},
        "templating": {"list": [_sources(), _instances()]},
        "panels": panels,
    }


def _panel(panel: Panel, number: int, left: int, top: int) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.words:
        options = {
            str(value): {"text": text, "color": color, "index": value}
            for value, (text, color) in panel.words.items()
        }
        defaults["mappings"] = [{"type": "value", "options": options}]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": {"h": 8, "w": panel.width, "x": left, "y": top},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + n), "expr": query, "legendFormat": legend, "datasource": SOURCE}
            for n, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def _mark(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "orange",
        "expr": query,
        "step": "60s",
    }


def _sources() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _instances() -> dict[str, Any]:
    query = 'label_values(up{job="konsul"}, instance)'
    return {
        "name": "instance",
        "label": "Node",
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": "instances"},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def text(page: Dashboard) -> str:
    """The content of the page's file."""
    return json.dumps(document(page), indent=1) + "\n"


def main() -> None:
    """Writes every dashboard."""
    FOLDER.mkdir(exist_ok=True)
    for page in (RAFT, NODES):
        (FOLDER / f"{page.uid}.json").write_text(text(page), encoding="utf-8")


if __name__ == "__main__":
    main()
