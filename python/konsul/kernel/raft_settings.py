"""Settings of the replicated log: its timing, its files, its snapshots."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from konsul.kernel.config import Settings, between, setting
from konsul.kernel.duration import format_duration_ms
from konsul.kernel.values import BOOL, BYTES, DURATION_MS, INT, one_of

_KIB: Final = 1 << 10
_MIB: Final = 1 << 20
_GIB: Final = 1 << 30
_TIMING_MS: Final = {"default": (100, 1_000), "fast": (50, 300)}
"""Heartbeat and election timeout of a profile."""


def must_be_on(why: str) -> Callable[[object], str | None]:
    """A check for a switch that cannot be turned off; `why` finishes "expected true: ..."."""
    return lambda value: None if value else f"true: {why}"


class RaftSettings(Settings):
    """The replicated log."""

    profile: Literal["default", "fast"] = setting(
        "KONSUL_RAFT_PROFILE",
        one_of("default", "fast"),
        default="default",
        doc="Timing where none is set. `default`: heartbeat 100ms, election 1s. `fast`: 50ms and 300ms, "
        "for a quiet local network: a pause of a node then more often costs it its leadership.",
    )
    heartbeat_timeout_ms: int | None = setting(
        "KONSUL_RAFT_HEARTBEAT_TIMEOUT",
        DURATION_MS,
        default=None,
        doc="How often a leader tells its followers that it lives. Unset: by the profile, 100ms.",
        check=between(10, 60_000, "10ms to 1m"),
    )
    election_timeout_ms: int | None = setting(
        "KONSUL_RAFT_ELECTION_TIMEOUT",
        DURATION_MS,
        default=None,
        doc="Longest silence of a leader before an election; the shortest is half. At least 5 heartbeats. "
        "Unset: by the profile, 1s.",
        check=between(50, 600_000, "50ms to 10m"),
    )
    leader_lease_timeout_ms: int | None = setting(
        "KONSUL_RAFT_LEADER_LEASE_TIMEOUT",
        DURATION_MS,
        default=None,
        doc="Longest time a leader answers reads on the word of a quorum it heard of. Unset or longer than "
        "is safe: nearly half the election timeout.",
        check=between(10, 600_000, "10ms to 10m"),
    )
    commit_timeout_ms: int = setting(
        "KONSUL_RAFT_COMMIT_TIMEOUT",
        DURATION_MS,
        default=50,
        doc="Accepted for compatibility: followers are told of a commit at once.",
        check=between(1, 60_000, "1ms to 1m"),
    )
    max_append_entries: int = setting(
        "KONSUL_RAFT_MAX_APPEND_ENTRIES",
        INT,
        default=64,
        doc="Appends on their way to one follower that it has not answered yet.",
        check=between(1, 4_096),
    )
    snapshot_interval_ms: int = setting(
        "KONSUL_RAFT_SNAPSHOT_INTERVAL",
        DURATION_MS,
        default=120_000,
        doc="How often a snapshot is considered.",
        check=between(10, 30 * 86_400_000, "10ms to 720h"),
    )
    snapshot_threshold: int = setting(
        "KONSUL_RAFT_SNAPSHOT_THRESHOLD",
        INT,
        default=8_192,
        doc="New log entries that justify a snapshot.",
        check=between(1, 2**40),
    )
    snapshot_retention: int = setting(
        "KONSUL_RAFT_SNAPSHOT_RETENTION", INT, default=2, doc="Snapshots kept.", check=between(1, 100)
    )
    snapshot_rate_bytes: int = setting(
        "KONSUL_RAFT_SNAPSHOT_RATE",
        BYTES,
        default=16 * _MIB,
        doc="Bytes per second of a snapshot on its way to one node; 0: as fast as it goes.",
        check=between(0, 1 << 40, "0 to 1TiB"),
    )
    snapshot_restore_on_startup: bool = setting(
        "KONSUL_RAFT_SNAPSHOT_RESTORE_ON_STARTUP",
        BOOL,
        default=True,
        doc="Accepted as true only.",
        check=must_be_on("a node always starts from its newest snapshot and its log"),
    )
    snapshot_validation: bool = setting(
        "KONSUL_RAFT_SNAPSHOT_VALIDATION_ENABLED",
        BOOL,
        default=True,
        doc="Accepted as true only.",
        check=must_be_on("a snapshot is never used unchecked"),
    )
    trailing_logs: int = setting(
        "KONSUL_RAFT_TRAILING_LOGS",
        INT,
        default=10_240,
        doc="Log entries kept behind a snapshot.",
        check=between(0, 2**40),
    )
    segment_bytes: int = setting(
        "KONSUL_RAFT_SEGMENT_BYTES",
        BYTES,
        default=16 * _MIB,
        doc="Size of a log file; files are written in advance and used again.",
        check=between(64 * _KIB, _GIB, "64KiB to 1GiB"),
    )
    inflight_max_entries: int = setting(
        "KONSUL_RAFT_INFLIGHT_MAX_ENTRIES",
        INT,
        default=65_536,
        doc="Most writes that may wait for the log; beyond it 503.",
        check=between(1, 2**24),
    )
    inflight_max_bytes: int = setting(
        "KONSUL_RAFT_INFLIGHT_MAX_BYTES",
        BYTES,
        default=256 * _MIB,
        doc="Most bytes of writes that may wait for the log; beyond it 503.",
        check=between(_MIB, 16 * _GIB, "1MiB to 16GiB"),
    )

    @property
    def heartbeat_ms(self) -> int:
        """The heartbeat in force."""
        return self.heartbeat_timeout_ms or _TIMING_MS[self.profile][0]

    @property
    def election_ms(self) -> int:
        """The election timeout in force."""
        return self.election_timeout_ms or _TIMING_MS[self.profile][1]

    @property
    def lease_ms(self) -> int:
        """The lease asked for; the core shortens it to what is safe."""
        return self.leader_lease_timeout_ms or self.election_ms

    def problem(self) -> str | None:
        """A leader must be heard several times before its followers give up on it."""
        heartbeat, election = format_duration_ms(self.heartbeat_ms), format_duration_ms(self.election_ms)
        if self.heartbeat_ms * 5 > self.election_ms:
            return (
                f"KONSUL_RAFT_HEARTBEAT_TIMEOUT ({heartbeat}) is over a fifth of "
                f"KONSUL_RAFT_ELECTION_TIMEOUT ({election}): expected at least five heartbeats in an "
                "election timeout"
            )
        if self.lease_ms > self.election_ms:
            return (
                f"KONSUL_RAFT_LEADER_LEASE_TIMEOUT ({format_duration_ms(self.lease_ms)}) is over "
                f"KONSUL_RAFT_ELECTION_TIMEOUT ({election}): another leader could be elected while the lease "
                "still held"
            )
        return None
