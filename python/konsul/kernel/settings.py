"""The server's own settings, one declaration each. A feature may bring more (`Feature.config`)."""

from __future__ import annotations

from typing import Final, Literal

from konsul.kernel.attempts import AttemptSettings as AttemptSettings
from konsul.kernel.autopilot_settings import AutopilotSettings
from konsul.kernel.cluster_settings import ClusterSettings as ClusterSettings
from konsul.kernel.cluster_settings import RaftTlsSettings as RaftTlsSettings
from konsul.kernel.config import Settings, at_least, between, setting
from konsul.kernel.dns_settings import DnsSettings as DnsSettings
from konsul.kernel.graphql_settings import GraphqlSettings as GraphqlSettings
from konsul.kernel.guard_settings import GuardSettings as GuardSettings
from konsul.kernel.raft_settings import RaftSettings as RaftSettings
from konsul.kernel.tls_settings import TlsSettings as TlsSettings
from konsul.kernel.values import BOOL, BYTES, DURATION_MS, INT, TEXT, one_of
from konsul.kernel.watch_settings import WatchSettings as WatchSettings

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30
_DAY_MS: Final = 86_400_000
_A_DAY: Final = "1ms to 24h"


class HttpSettings(Settings):
    """The HTTP listener and its limits."""

    host: str = setting(
        "KONSUL_HOST",
        TEXT,
        default="",
        doc="Listen host. Empty: loopback while nothing authenticates requests; `0.0.0.0`: every interface.",
    )
    port: int = setting(
        "KONSUL_PORT",
        INT,
        default=8888,
        doc="Listen port.",
        check=between(1, 65_535, "a port from 1 to 65535"),
    )
    max_body_bytes: int | None = setting(
        "KONSUL_HTTP_MAX_BODY_BYTES",
        BYTES,
        default=None,
        doc="Largest request body; beyond it 413. Unset: 4MiB, or twice the largest value if that is more.",
        check=between(KIB, GIB, "1KiB to 1GiB"),
    )
    max_header_bytes: int = setting(
        "KONSUL_HTTP_MAX_HEADER_BYTES",
        BYTES,
        default=4 * KIB,
        doc="Largest request line and headers together; beyond it 431.",
        check=between(KIB, MIB, "1KiB to 1MiB"),
    )
    body_timeout_ms: int = setting(
        "KONSUL_HTTP_BODY_TIMEOUT",
        DURATION_MS,
        default=30_000,
        doc="Time a request may take to send its head, and again its body; beyond it 408.",
        check=between(1, _DAY_MS, _A_DAY),
    )
    stop_grace_ms: int = setting(
        "KONSUL_STOP_GRACE",
        DURATION_MS,
        default=10_000,
        doc="Time requests in flight get to finish when the server is stopped.",
        check=between(0, _DAY_MS, "0 to 24h"),
    )
    access_log: Literal["all", "errors", "off"] = setting(
        "KONSUL_ACCESS_LOG",
        one_of("all", "errors", "off"),
        default="all",
        doc="Which requests get a log line: every one, those answered 400 and above, or none.",
    )


class LogSettings(Settings):
    """The log."""

    level: str = setting(
        "KONSUL_LOG_LEVEL",
        one_of("debug", "info", "warn", "error"),
        default="info",
        doc="Least level written.",
    )
    format: Literal["text", "json"] = setting(
        "KONSUL_LOG_FORMAT", one_of("text", "json"), default="text", doc="One JSON object per line, or text."
    )


class KvSettings(Settings):
    """Limits of the KV store."""

    max_value_bytes: int = setting(
        "KONSUL_KV_MAX_VALUE_BYTES",
        BYTES,
        default=512 * KIB,
        doc="Largest value of a key.",
        check=between(1, 64 * MIB, "1 to 64MiB"),
    )


class ServiceSettings(Settings):
    """The service registry."""

    ttl_ms: int = setting(
        "KONSUL_SERVICE_TTL",
        DURATION_MS,
        default=30_000,
        doc="How long a service stays without a heartbeat.",
        check=between(1, 365 * _DAY_MS, "1ms to 8760h"),
    )
    cleanup_interval_ms: int = setting(
        "KONSUL_CLEANUP_INTERVAL",
        DURATION_MS,
        default=60_000,
        doc="Accepted for compatibility: expiry needs no sweep, a service goes the moment its lease ends.",
        check=at_least(1, "1ms"),
    )
    max_tags: int = setting(
        "KONSUL_SERVICE_MAX_TAGS", INT, default=64, doc="Most tags of a service.", check=between(0, 1_000)
    )
    max_tag_length: int = setting(
        "KONSUL_SERVICE_MAX_TAG_LENGTH",
        INT,
        default=255,
        doc="Longest tag in characters.",
        check=between(1, 700),
    )
    max_metadata_keys: int = setting(
        "KONSUL_SERVICE_MAX_METADATA_KEYS",
        INT,
        default=64,
        doc="Most metadata pairs of a service.",
        check=between(0, 1_000),
    )
    max_metadata_key_length: int = setting(
        "KONSUL_SERVICE_MAX_METADATA_KEY_LENGTH",
        INT,
        default=128,
        doc="Longest metadata key in characters.",
        check=between(1, 128),
    )
    max_metadata_value_length: int = setting(
        "KONSUL_SERVICE_MAX_METADATA_VALUE_LENGTH",
        INT,
        default=512,
        doc="Longest metadata value in bytes of UTF-8.",
        check=between(0, 512),
    )
    mend_interval_ms: int = setting(
        "KONSUL_SERVICE_MEND_INTERVAL",
        DURATION_MS,
        default=60_000,
        doc="How often the leader looks for instances told worse than their node and checks are.",
        check=between(1_000, _DAY_MS, "1s to 24h"),
    )
    mend_max_per_s: int = setting(
        "KONSUL_SERVICE_MEND_RATE",
        INT,
        default=2_000,
        doc="Most such instances the leader corrects per second.",
        check=between(1, 100_000),
    )


class StorageSettings(Settings):
    """The data directory."""

    persistence_enabled: bool = setting(
        "KONSUL_PERSISTENCE_ENABLED", BOOL, default=True, doc="Keep data on disk; off means `memory`."
    )
    persistence_type: str = setting(
        "KONSUL_PERSISTENCE_TYPE",
        one_of("durable", "memory", "badger"),
        default="durable",
        doc="`durable`: kept in the data directory. `memory`: gone at exit. `badger`: old name of `durable`.",
    )
    data_dir: str = setting("KONSUL_DATA_DIR", TEXT, default="./data", doc="The data directory.")
    sync_writes: bool = setting(
        "KONSUL_SYNC_WRITES",
        BOOL,
        default=True,
        doc="Sync the log before a write is answered. Off risks the last writes when the machine fails.",
    )
    reserve_bytes: int = setting(
        "KONSUL_DISK_RESERVE_BYTES",
        BYTES,
        default=64 * MIB,
        doc="Writes are refused with 507 while the disk has less free space than this.",
        check=between(0, 1 << 40, "0 to 1TiB"),
    )
    map_max_bytes: int = setting(
        "KONSUL_DISK_MAP_MAX_BYTES",
        BYTES,
        default=64 * GIB,
        doc="Most the applied state may grow to on disk.",
        check=between(16 * MIB, 1 << 44, "16MiB to 16TiB"),
    )

    @property
    def backend(self) -> str:
        """What the core calls it: `durable` or `memory`."""
        return "durable" if self.persistence_enabled and self.persistence_type != "memory" else "memory"


GROUPS: Final[tuple[type[Settings], ...]] = (
    HttpSettings,
    LogSettings,
    KvSettings,
    ServiceSettings,
    StorageSettings,
    RaftSettings,
    ClusterSettings,
    RaftTlsSettings,
    AutopilotSettings,
    GraphqlSettings,
    DnsSettings,
    WatchSettings,
    GuardSettings,
    TlsSettings,
    AttemptSettings,
)


def max_body_bytes(http: HttpSettings, kv: KvSettings) -> int:
    """The body limit in force: unset, it leaves room for the largest value in a JSON body."""
    return http.max_body_bytes or max(4 * MIB, 2 * kv.max_value_bytes)
