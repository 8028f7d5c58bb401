"""How one node runs, as the core is told it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias, cast

import msgpack

Backend: TypeAlias = Literal["durable", "memory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How one node runs. Names carry units; every bound is inclusive; empty text means not given."""

    data_dir: str
    node_id: int = 1
    """The consensus identity; 0 in a cluster: drawn once per data directory."""
    backend: Backend = "durable"
    heartbeat_ms: int = 100
    election_ms: int = 1_000
    tick_ms: int = 10
    snapshot_interval_ms: int = 120_000
    snapshot_threshold_entries: int = 8_192
    snapshot_retention: int = 2
    trailing_entries: int = 10_240
    segment_bytes: int = 16 << 20
    inflight_max_entries: int = 65_536
    inflight_max_bytes: int = 256 << 20
    disk_reserve_bytes: int = 64 << 20
    map_max_bytes: int = 64 << 30
    sync_writes: bool = True
    watch_ring_entries: int = 65_536
    """Newest changes kept for watches that resume; 0: none."""
    watch_ring_bytes: int = 16 << 20
    watchers_max: int = 20_000

    cluster: bool = False
    """False: a lone node without a peer port, and nothing below counts."""
    node_name: str = ""
    """The operator's name: a letter or digit, then up to 63 letters, digits, dots, dashes, underscores."""
    bind_addr: str = "127.0.0.1:7000"
    advertise_addr: str = ""
    """What peers are told; not given: `bind_addr`."""
    http_addr: str = ""
    """The URL of this node's HTTP door, for redirects."""
    zone: str = ""
    read_only: bool = False
    lease_ms: int = 500
    """Wanted length of the leader's lease for reads; the core shortens what cannot be safe."""
    leader_wait_ms: int = 1_000
    """How long a read or write waits for a leader, from when the last one was lost."""
    max_append_entries: int = 64
    snapshot_rate_bytes: int = 16 << 20
    """Bytes per second of a snapshot on its way to a peer; 0: unlimited."""
    tls_cert_file: str = ""
    tls_key_file: str = ""
    tls_ca_file: str = ""
    allow_plaintext: bool = False
    version: str = ""

    def packed(self) -> bytes:
        """The msgpack map the core reads."""
        return cast(bytes, msgpack.packb(asdict(self)))
