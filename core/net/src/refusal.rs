//! Every reason for which a connection is not let in, or not let go on. The numbers travel: only append.

/// Why a connection was refused or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Refusal {
    /// No protocol that both sides speak.
    Protocol = 0,
    /// The other side belongs to another cluster.
    Cluster = 1,
    /// This node belongs to no cluster yet: it takes calls only.
    Unformed = 2,
    /// The other side was removed from this cluster.
    Removed = 3,
    /// Another node listens at this address.
    WrongNode = 4,
    /// Too many connections.
    Busy = 5,
    /// The node above does not want it (an incompatible log, for one).
    Incompatible = 6,
    /// A first message that makes no sense.
    Malformed = 7,
    /// First bytes of another protocol.
    Garbage = 8,
    /// No agreement about certificates.
    Tls = 9,
    /// The first message did not come in time.
    Timeout = 10,
    /// Frames that make no sense, or too long ones.
    Frame = 11,
    /// It came and went without a word, as a port scanner does.
    Silent = 12,
    /// A reason this build does not know.
    Unknown = 13,
}

impl Refusal {
    /// All of them, by number.
    pub const ALL: [Self; 14] = [
        Self::Protocol,
        Self::Cluster,
        Self::Unformed,
        Self::Removed,
        Self::WrongNode,
        Self::Busy,
        Self::Incompatible,
        Self::Malformed,
        Self::Garbage,
        Self::Tls,
        Self::Timeout,
        Self::Frame,
        Self::Silent,
        Self::Unknown,
    ];

    /// The reason of a number from the wire.
    pub fn numbered(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Unknown)
    }

    /// One word for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Cluster => "cluster",
            Self::Unformed => "unformed",
            Self::Removed => "removed",
            Self::WrongNode => "wrong_node",
            Self::Busy => "busy",
            Self::Incompatible => "incompatible",
            Self::Malformed => "malformed",
            Self::Garbage => "garbage",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Frame => "frame",
            Self::Silent => "silent",
            Self::Unknown => "unknown",
        }
    }
}
