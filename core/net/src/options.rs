//! What a transport is told at its start, and who it says it is.

use std::path::PathBuf;

/// Who a node is, as it tells its peers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The cluster it belongs to; 0: none yet.
    pub cluster_id: u64,
    /// Its number in the consensus.
    pub raft_id: u64,
    /// The operator's name for it.
    pub node_id: String,
    /// The version of its program.
    pub version: String,
    /// The newest log it understands.
    pub log_version: u32,
}

/// The PEM files of mutual TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The node's certificate, followed by intermediates if there are any.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities that peers' certificates must come from.
    pub ca: PathBuf,
}

/// Settings of one transport. Every queue, every wait and every message has its limit here.
#[derive(Clone, Debug)]
pub struct NetOptions {
    /// `host:port` to listen on; port 0 takes a free one.
    pub bind: String,
    /// Mutual TLS, or None for none.
    pub tls: Option<TlsFiles>,
    /// Whether peers may be spoken to without TLS when `bind` is not a loopback address.
    pub allow_plaintext: bool,
    /// The longest frame between members, in bytes.
    pub frame_bytes_max: usize,
    /// The longest call or reply, in bytes.
    pub call_bytes_max: usize,
    /// What may wait for one peer, in bytes; beyond it frames are dropped and `send` says so.
    pub queue_bytes_max: usize,
    /// What may wait for one peer, in frames.
    pub queue_frames_max: usize,
    /// Room of its own for urgent frames, in frames.
    pub urgent_frames_max: usize,
    /// Connections of nodes that are no members.
    pub strangers_max: usize,
    /// Connections from one address, of nodes that are no members.
    pub strangers_per_address_max: usize,
    /// Connections that have not said who they are; the oldest makes room for a new one.
    pub unknown_max: usize,
    /// Unanswered calls on one connection.
    pub calls_open_max: usize,
    /// Bytes per second of all outgoing snapshots together; 0: no limit.
    pub snapshot_rate_bytes: u64,
    /// The longest snapshot taken in, in bytes.
    pub snapshot_bytes_max: u64,
    /// For a TCP connection to come about.
    pub connect_timeout_ms: u64,
    /// For TLS and the first messages.
    pub handshake_timeout_ms: u64,
    /// A quiet connection says "I am here" this often.
    pub ping_ms: u64,
    /// A connection from which nothing came for so long is closed.
    pub idle_ms: u64,
    /// A connection that takes nothing for so long is closed.
    pub stall_ms: u64,
    /// The first and the longest pause between attempts to connect.
    pub backoff_ms: (u64, u64),
    /// How long an interrupted snapshot is kept for its sender to go on with.
    pub resume_ms: u64,
}

impl Default for NetOptions {
    fn default() -> Self {
        Self {
            bind: "127.0.0.1:0".to_owned(),
            tls: None,
            allow_plaintext: false,
            frame_bytes_max: 8 << 20,
            call_bytes_max: (1 << 20) + 1_024,
            queue_bytes_max: 32 << 20,
            queue_frames_max: 4_096,
            urgent_frames_max: 2_048,
            strangers_max: 64,
            strangers_per_address_max: 32,
            unknown_max: 64,
            calls_open_max: 64,
            snapshot_rate_bytes: 16 << 20,
            snapshot_bytes_max: 1 << 40,
            connect_timeout_ms: 1_000,
            handshake_timeout_ms: 3_000,
            ping_ms: 500,
            idle_ms: 2_500,
            stall_ms: 10_000,
            backoff_ms: (20, 2_000),
            resume_ms: 60_000,
        }
    }
}
