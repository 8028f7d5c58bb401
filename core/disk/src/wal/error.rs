//! Everything that can go wrong with the log, in words for the operator.

/// Why an append was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WalError {
    /// No room on the disk. Nothing was written; the same records may be appended again.
    #[error("the log has no room: {0}")]
    Full(String),
    /// The disk failed under the log, or did so before. What is on it is uncertain: the process must stop and
    /// recover.
    #[error("the log failed: {0}; stop and restart the node, and check the disk")]
    Failed(String),
    /// The records break the log's rules (a gap, a step back): a fault of the caller. The log takes nothing
    /// more.
    #[error("the log was misused: {0}")]
    Misused(String),
    /// The log was closed before the records were written.
    #[error("the log is closed")]
    Closed,
}

/// Why entries could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Purged: a snapshot covers it. `first` is the first entry there is.
    #[error("the entry was compacted away, the log starts at {first}")]
    Compacted { first: u64 },
    /// Beyond the end.
    #[error("the entry is not there yet, the log ends at {last}")]
    Unavailable { last: u64 },
    /// The disk does not return what was written.
    #[error("the log cannot be read back: {0}; restore this node's data directory from a snapshot or backup")]
    Damaged(String),
}

/// Why the log did not open. Every message says what to do; nothing was changed on disk.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk refused an operation.
    #[error(
        "{action} {file}: {error}; check that the disk is healthy, has room and is writable, then start again"
    )]
    Io {
        /// What was tried, e.g. "cannot read".
        action: &'static str,
        /// The file's path.
        file: String,
        /// The system's answer.
        error: std::io::Error,
    },
    /// Acknowledged records are damaged. Cutting the log here would lose acknowledged writes.
    #[error(
        "{file} is damaged at byte {offset}: {detail}. This is not a torn end of the log: acknowledged \
         writes would be lost by going on. Restore the data directory from a snapshot or backup (with other \
         nodes in the cluster: empty it and join anew under a new node id)"
    )]
    Damaged {
        /// The file's path.
        file: String,
        /// Where in it.
        offset: u64,
        /// What was found.
        detail: String,
    },
    /// Files that belong to the log are not there.
    #[error(
        "the log is incomplete: {0}. Put the missing file back, or restore the data directory from a \
         snapshot or backup"
    )]
    Missing(String),
    /// Written by another version of Konsul.
    #[error(
        "{file} has log format {found}, this version reads format {known}: start the version that wrote it"
    )]
    Version {
        /// The file's path.
        file: String,
        /// The format in the file.
        found: u32,
        /// The format of this build.
        known: u32,
    },
    /// The options make no sense.
    #[error("the log's options are wrong: {0}")]
    Options(String),
}
