"""Settings of sessions."""

from __future__ import annotations

from typing import Final

from konsul.kernel.config import Settings, between, setting
from konsul.kernel.values import DURATION_MS, INT

TTL_MAX_MS: Final = 86_400_000
DELAY_MAX_MS: Final = 60_000


class SessionSettings(Settings):
    """Sessions and the locks they hold."""

    ttl_min_ms: int = setting(
        "KONSUL_SESSION_TTL_MIN",
        DURATION_MS,
        default=10_000,
        doc="Shortest TTL a session may have. Shorter ones are lost to the first election or long pause.",
        check=between(100, TTL_MAX_MS, "100ms to 24h"),
    )
    lock_delay_ms: int = setting(
        "KONSUL_SESSION_LOCK_DELAY",
        DURATION_MS,
        default=15_000,
        doc="How long nobody may acquire what a lost session held, if the session does not say.",
        check=between(0, DELAY_MAX_MS, "0 to 60s"),
    )
    max: int = setting(
        "KONSUL_SESSION_MAX",
        INT,
        default=100_000,
        doc="Most sessions; beyond it none is created, 409.",
        check=between(1, 10_000_000),
    )
    checks_max: int = setting(
        "KONSUL_SESSION_MAX_CHECKS",
        INT,
        default=64,
        doc="Most checks a session may be bound to.",
        check=between(0, 1_000),
    )
    locks_max: int = setting(
        "KONSUL_SESSION_MAX_LOCKS",
        INT,
        default=4_096,
        doc="Most keys a session may hold at once: all of them are freed in one entry.",
        check=between(1, 10_000),
    )
