"""Settings of connections that stay open: watches, channels, subscriptions."""

from __future__ import annotations

from typing import Final

from konsul.kernel.config import Settings, between, setting
from konsul.kernel.values import BOOL, BYTES, DURATION_MS, INT, LIST

_DAY_MS: Final = 86_400_000


class WatchSettings(Settings):
    """Watches and the connections they are told on."""

    enabled: bool = setting(
        "KONSUL_WATCH_ENABLED",
        BOOL,
        default=True,
        doc="Change streams: `/kv/watch` and its like, `/ws/updates`, long-polls, subscriptions.",
    )
    buffer_size: int = setting(
        "KONSUL_WATCH_BUFFER_SIZE",
        INT,
        default=100,
        doc="Events that wait for one watcher; beyond it the watcher is told that it is behind.",
        check=between(1, 65_536),
    )
    max_per_client: int = setting(
        "KONSUL_WATCH_MAX_PER_CLIENT",
        INT,
        default=100,
        doc="Most watches of one client (its identity, else its address); 0: no limit.",
        check=between(0, 1_000_000),
    )
    max_total: int = setting(
        "KONSUL_WATCH_MAX_TOTAL",
        INT,
        default=20_000,
        doc="Most watches on this node, of all clients and doors together.",
        check=between(1, 1_000_000),
    )
    timeout_ms: int = setting(
        "KONSUL_WATCH_TIMEOUT",
        DURATION_MS,
        default=0,
        doc="A connection on which nothing was said for so long, heartbeats apart, is closed; 0: never.",
        check=between(0, 365 * _DAY_MS, "0 to 8760h"),
    )
    ring_entries: int = setting(
        "KONSUL_WATCH_RING_ENTRIES",
        INT,
        default=65_536,
        doc="Changes kept in memory, so that who comes back can go on where it stopped.",
        check=between(1, 16_777_216),
    )
    ring_bytes: int = setting(
        "KONSUL_WATCH_RING_BYTES",
        BYTES,
        default=16 << 20,
        doc="Most memory of those changes.",
        check=between(1 << 10, 16 << 30, "1KiB to 16GiB"),
    )
    heartbeat_interval_ms: int = setting(
        "KONSUL_WATCH_HEARTBEAT_INTERVAL",
        DURATION_MS,
        default=30_000,
        doc="Time between two signs of life on an open connection.",
        check=between(100, _DAY_MS, "100ms to 24h"),
    )
    write_timeout_ms: int = setting(
        "KONSUL_WATCH_WRITE_TIMEOUT",
        DURATION_MS,
        default=30_000,
        doc="A connection is closed when its client has not taken what waits for it in this time.",
        check=between(100, _DAY_MS, "100ms to 24h"),
    )
    allowed_origins: tuple[str, ...] = setting(
        "KONSUL_WATCH_ALLOWED_ORIGINS",
        LIST,
        default=(),
        doc="Sites whose pages may open WebSockets besides the node's own: `https://ui.example`; `*`: any.",
    )
