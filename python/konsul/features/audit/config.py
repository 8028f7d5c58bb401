"""The settings of the audit log."""

from __future__ import annotations

from typing import Final, Literal

from konsul.kernel.config import Settings, at_least, between, setting
from konsul.kernel.values import BOOL, BYTES, DURATION_MS, INT, TEXT, one_of

MIB: Final = 1 << 20
_DAY_MS: Final = 86_400_000


class AuditSettings(Settings):
    """What is recorded, where to, and what happens when it cannot be written as fast as it comes."""

    enabled: bool = setting(
        "KONSUL_AUDIT_ENABLED",
        BOOL,
        default=False,
        doc="Record every request on every door, allowed or refused, one JSON object per line.",
    )
    events: Literal["all", "writes", "denied"] = setting(
        "KONSUL_AUDIT_EVENTS",
        one_of("all", "writes", "denied"),
        default="all",
        doc="`writes`: what changes something or was not done; `denied`: only what was not done.",
    )
    sink: Literal["file", "stdout"] = setting(
        "KONSUL_AUDIT_SINK", one_of("file", "stdout"), default="file", doc="Where the lines go."
    )
    file_path: str = setting(
        "KONSUL_AUDIT_FILE_PATH",
        TEXT,
        default="./logs/audit.log",
        doc="The file of the sink `file`: appended, mode 0600, its directory created with 0700.",
    )
    file_max_bytes: int = setting(
        "KONSUL_AUDIT_FILE_MAX_BYTES",
        BYTES,
        default=100 * MIB,
        doc="Size at which the file is rotated; 0: never by size.",
    )
    file_max_age_ms: int = setting(
        "KONSUL_AUDIT_FILE_MAX_AGE",
        DURATION_MS,
        default=0,
        doc="Age of its first event at which the file is rotated; 0: never by age.",
    )
    file_keep: int = setting(
        "KONSUL_AUDIT_FILE_KEEP",
        INT,
        default=10,
        doc="Rotated files that are kept, `.1` the newest; 0: none.",
        check=between(0, 1_000),
    )
    buffer_size: int = setting(
        "KONSUL_AUDIT_BUFFER_SIZE",
        INT,
        default=16_384,
        doc="Events that may wait for the writer, at 2KiB each on average.",
        check=between(1, 1_000_000),
    )
    flush_interval_ms: int = setting(
        "KONSUL_AUDIT_FLUSH_INTERVAL",
        DURATION_MS,
        default=1_000,
        doc="Longest time an event waits to be written; a crash loses what waits.",
        check=between(1, 60_000, "1ms to 1m"),
    )
    drop_policy: Literal["drop", "block"] = setting(
        "KONSUL_AUDIT_DROP_POLICY",
        one_of("drop", "block"),
        default="drop",
        doc="When the buffer is full: `drop` loses and counts events, `block` refuses requests with 503.",
    )
    store_enabled: bool = setting(
        "KONSUL_AUDIT_STORE_ENABLED",
        BOOL,
        default=True,
        doc="Keep events in the data directory as well, for `GET /audit/events`.",
    )
    store_retention_ms: int = setting(
        "KONSUL_AUDIT_STORE_RETENTION",
        DURATION_MS,
        default=30 * _DAY_MS,
        doc="Age at which events leave the store.",
        check=at_least(1_000, "1s"),
    )
    store_max_bytes: int = setting(
        "KONSUL_AUDIT_STORE_MAX_BYTES",
        BYTES,
        default=1_024 * MIB,
        doc="Compressed size of the store beyond which the oldest events leave it.",
        check=at_least(MIB, "1MiB"),
    )

    def problem(self) -> str | None:
        """A sink that would be nowhere stops the start."""
        if self.enabled and self.sink == "file" and not self.file_path:
            return "KONSUL_AUDIT_FILE_PATH is empty: expected the path of a file"
        return None
