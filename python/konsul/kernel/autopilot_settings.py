"""Settings of autopilot as a cluster has them at first; later they are changed through the API."""

from __future__ import annotations

from konsul.kernel.config import Settings, between, setting
from konsul.kernel.values import BOOL, DURATION_MS, INT

_FIRST = "Until it is changed through the API: "


class AutopilotSettings(Settings):
    """What the leader does with members by itself."""

    enabled: bool = setting(
        "KONSUL_AUTOPILOT_ENABLED",
        BOOL,
        default=True,
        doc=_FIRST + "the leader promotes members that keep up and acts on those that are gone.",
    )
    cleanup_dead_servers: bool = setting(
        "KONSUL_AUTOPILOT_CLEANUP_DEAD_SERVERS",
        BOOL,
        default=True,
        doc=_FIRST + "members that stay silent are removed, as long as a quorum stays sure.",
    )
    last_contact_threshold_ms: int = setting(
        "KONSUL_AUTOPILOT_LAST_CONTACT_THRESHOLD",
        DURATION_MS,
        default=10_000,
        doc=_FIRST + "a member silent for longer is not healthy.",
        check=between(100, 86_400_000, "100ms to 24h"),
    )
    dead_server_timeout_ms: int = setting(
        "KONSUL_AUTOPILOT_DEAD_SERVER_TIMEOUT",
        DURATION_MS,
        default=30_000,
        doc=_FIRST + "a member silent for longer counts as gone.",
        check=between(1_000, 30 * 86_400_000, "1s to 720h"),
    )
    max_trailing_logs: int = setting(
        "KONSUL_AUTOPILOT_MAX_TRAILING_LOGS",
        INT,
        default=1_000,
        doc=_FIRST + "a member further behind is not healthy.",
        check=between(1, 2**40),
    )
    server_stabilization_time_ms: int = setting(
        "KONSUL_AUTOPILOT_SERVER_STABILIZATION_TIME",
        DURATION_MS,
        default=10_000,
        doc=_FIRST + "a member must have been healthy for so long before it votes.",
        check=between(0, 86_400_000, "0 to 24h"),
    )
    min_quorum: int = setting(
        "KONSUL_AUTOPILOT_MIN_QUORUM",
        INT,
        default=3,
        doc=_FIRST + "never fewer voters than this by removing dead ones.",
        check=between(1, 7),
    )
    redundancy_zones: bool = setting(
        "KONSUL_AUTOPILOT_REDUNDANCY_ZONES",
        BOOL,
        default=False,
        doc=_FIRST + "one voter per KONSUL_RAFT_ZONE, the others of a zone stand by for it.",
    )

    def problem(self) -> str | None:
        """The same rule as for changes through the API."""
        if self.dead_server_timeout_ms < self.last_contact_threshold_ms:
            return (
                "KONSUL_AUTOPILOT_DEAD_SERVER_TIMEOUT is below KONSUL_AUTOPILOT_LAST_CONTACT_THRESHOLD: a "
                "server is unhealthy before dead"
            )
        return None
