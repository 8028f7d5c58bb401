"""Settings of load balancing: what clients report, what rules may hold, how much is remembered."""

from __future__ import annotations

from konsul.features.lb.zones import MIN_PERCENT
from konsul.kernel.config import Settings, between, setting
from konsul.kernel.values import DURATION_MS, INT

_HOUR_MS = 3_600_000


class LbSettings(Settings):
    """Choosing one instance of many."""

    report_ttl_ms: int = setting(
        "KONSUL_LB_REPORT_TTL",
        DURATION_MS,
        default=30_000,
        doc="How long connections that a client reported count without another report.",
        check=between(1_000, _HOUR_MS, "1s to 1h"),
    )
    latency_ttl_ms: int = setting(
        "KONSUL_LB_LATENCY_TTL",
        DURATION_MS,
        default=60_000,
        doc="How long a latency counts without another measurement; longer than checks' intervals.",
        check=between(1_000, _HOUR_MS, "1s to 1h"),
    )
    latency_decay_ms: int = setting(
        "KONSUL_LB_LATENCY_DECAY",
        DURATION_MS,
        default=10_000,
        doc="Time after which a measured latency weighs 37 % of what it did.",
        check=between(100, _HOUR_MS, "100ms to 1h"),
    )
    reports_max: int = setting(
        "KONSUL_LB_REPORTS_MAX",
        INT,
        default=100_000,
        doc="Most reports a node remembers, one per instance and client; the oldest go first.",
        check=between(100, 10_000_000),
    )
    report_batch_max: int = setting(
        "KONSUL_LB_REPORT_BATCH_MAX",
        INT,
        default=500,
        doc="Most reports of one request.",
        check=between(1, 10_000),
    )
    spread_interval_ms: int = setting(
        "KONSUL_LB_SPREAD_INTERVAL",
        DURATION_MS,
        default=500,
        doc="Time between two rounds that pass reports on to the other nodes.",
        check=between(50, 60_000, "50ms to 1m"),
    )
    spread_max: int = setting(
        "KONSUL_LB_SPREAD_MAX",
        INT,
        default=10_000,
        doc="Most reports that wait to be passed on; those beyond stay on the node they were made to.",
        check=between(1, 1_000_000),
    )
    rules_max: int = setting(
        "KONSUL_LB_RULES_MAX",
        INT,
        default=1_000,
        doc="Most services with rules of their own.",
        check=between(1, 100_000),
    )
    split_max: int = setting(
        "KONSUL_LB_SPLIT_MAX",
        INT,
        default=16,
        doc="Most named rules of one service.",
        check=between(1, 256),
    )
    answers_max: int = setting(
        "KONSUL_LB_ANSWERS_MAX",
        INT,
        default=100,
        doc="Most instances of one answer, see `?limit=`.",
        check=between(1, 1_000),
    )
    zone_min_percent: int = setting(
        "KONSUL_LB_ZONE_MIN_PERCENT",
        INT,
        default=MIN_PERCENT,
        doc="Share of a zone's instances that must serve for it to keep all of its clients.",
        check=between(1, 100),
    )
    kept_candidates: int = setting(
        "KONSUL_LB_KEPT_CANDIDATES",
        INT,
        default=20_000,
        doc="Candidates kept ready between selections while no table changes; 0: none.",
        check=between(0, 1_000_000),
    )
