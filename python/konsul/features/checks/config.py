"""Settings of health checks: how many at once, how far they may reach, what calms them down."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from konsul.features.checks.guard import DENIED, Guard, networks
from konsul.kernel.config import Settings, at_least, between, setting
from konsul.kernel.values import BOOL, BYTES, DURATION_MS, INT, LIST, TEXT

_HOUR_MS: Final = 3_600_000


def _are_networks(items: tuple[str, ...]) -> str | None:
    try:
        networks(items)
    except ValueError as error:
        return f"networks such as 10.0.0.0/8, separated by commas ({error})"
    return None


def _absolute(text: str) -> str | None:
    return None if not text or Path(text).is_absolute() else "an absolute path"


class CheckSettings(Settings):
    """Health checks of services and nodes."""

    enabled: bool = setting(
        "KONSUL_CHECK_ENABLED",
        BOOL,
        default=True,
        doc="Run checks on this node; off: the other nodes run them all.",
    )
    concurrency: int = setting(
        "KONSUL_CHECK_CONCURRENCY",
        INT,
        default=256,
        doc="Most checks this node runs at the same time; those that are due wait for their turn.",
        check=between(1, 10_000),
    )
    checks_max: int = setting(
        "KONSUL_CHECK_MAX",
        INT,
        default=50_000,
        doc="Most checks this node runs at all; those beyond stay as they are and are counted as refused.",
        check=between(1, 1_000_000),
    )
    runner_ttl_ms: int = setting(
        "KONSUL_CHECK_RUNNER_TTL",
        DURATION_MS,
        default=5_000,
        doc="A node that ran checks and is silent for so long loses them to the others.",
        check=between(1_000, 60_000, "1s to 1m"),
    )
    start_spread_ms: int = setting(
        "KONSUL_CHECK_START_SPREAD",
        DURATION_MS,
        default=1_000,
        doc="New and taken-over checks first run within this time, or their interval if that is shorter.",
        check=between(0, 60_000, "0s to 1m"),
    )
    redirects_max: int = setting(
        "KONSUL_CHECK_REDIRECTS_MAX",
        INT,
        default=5,
        doc="Redirects an HTTP check follows; one more is a warning.",
        check=between(0, 20),
    )
    body_max_bytes: int = setting(
        "KONSUL_CHECK_BODY_MAX",
        BYTES,
        default=64 << 10,
        doc="Of an answer the part that `expected_body` looks at.",
        check=between(1 << 10, 4 << 20, "1KiB to 4MiB"),
    )
    idle_connections_max: int = setting(
        "KONSUL_CHECK_IDLE_CONNECTIONS_MAX",
        INT,
        default=1_024,
        doc="Most connections to targets that are kept open for the next HTTP check; 0: none.",
        check=between(0, 100_000),
    )
    output_interval_ms: int = setting(
        "KONSUL_CHECK_OUTPUT_INTERVAL",
        DURATION_MS,
        default=30_000,
        doc="A changed output without a changed status is written at most this often per check; what a TTL "
        "check is told, three times at once and then so often.",
        check=between(0, 24 * _HOUR_MS, "0s to 24h"),
    )
    flap_changes_max: int = setting(
        "KONSUL_CHECK_FLAP_CHANGES",
        INT,
        default=6,
        doc="More changes of status than this within the window: the check flaps, and its worse status is "
        "held. 0: never.",
        check=between(0, 100),
    )
    flap_window_intervals: int = setting(
        "KONSUL_CHECK_FLAP_WINDOW",
        INT,
        default=10,
        doc="Length of that window in intervals of the check; half of it without a change ends the hold.",
        check=between(2, 1_000),
    )
    deny_networks: tuple[str, ...] = setting(
        "KONSUL_CHECK_DENY_NETWORKS",
        LIST,
        default=DENIED,
        doc="Networks that checks may not reach, whatever name leads there.",
        check=_are_networks,
    )
    allow_networks: tuple[str, ...] = setting(
        "KONSUL_CHECK_ALLOW_NETWORKS",
        LIST,
        default=(),
        doc="If given, the only networks that checks may reach; denied ones stay denied.",
        check=_are_networks,
    )
    tls_ca_file: str = setting(
        "KONSUL_CHECK_TLS_CA_FILE",
        TEXT,
        default="",
        doc="PEM file of the authorities that vouch for the targets' certificates; empty: the system's.",
    )
    scripts_enabled: bool = setting(
        "KONSUL_CHECK_SCRIPTS_ENABLED",
        BOOL,
        default=False,
        doc="Run script checks on this node; needs KONSUL_CHECK_SCRIPT_DIR.",
    )
    script_dir: str = setting(
        "KONSUL_CHECK_SCRIPT_DIR",
        TEXT,
        default="",
        doc="Absolute path of the one directory whose programs script checks may run.",
        check=_absolute,
    )
    deregister_max_per_s: int = setting(
        "KONSUL_CHECK_DEREGISTER_RATE",
        INT,
        default=20,
        doc="Most instances the leader deregisters per second for having been critical too long.",
        check=at_least(1),
    )

    def problem(self) -> str | None:
        """Scripts need a place."""
        if self.scripts_enabled and not self.script_dir:
            return "KONSUL_CHECK_SCRIPTS_ENABLED is on without KONSUL_CHECK_SCRIPT_DIR: name the directory"
        return None

    def guard(self) -> Guard:
        """What judges the addresses of targets."""
        return Guard(networks(self.deny_networks), networks(self.allow_networks))

    def script_directory(self) -> Path | None:
        """Where programs may lie; None: none is run."""
        return Path(self.script_dir) if self.scripts_enabled else None
