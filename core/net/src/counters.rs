//! What the transport counts, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::refusal::Refusal;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counted since the start; see [`Counted`].
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub $name: AtomicU64,)*
            refused: [AtomicU64; Refusal::ALL.len()],
        }

        /// A reading of all counters.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Counted {
            $($(#[$doc])* pub $name: u64,)*
            /// Connections refused or closed, by reason.
            pub refused: Vec<(&'static str, u64)>,
        }

        impl Counters {
            pub fn read(&self) -> Counted {
                Counted {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                    refused: Refusal::ALL
                        .iter()
                        .map(|&one| (one.name(), self.refused[one as usize].load(Ordering::Relaxed)))
                        .collect(),
                }
            }
        }
    };
}

counters! {
    /// Bytes written to peers, without TLS.
    bytes_sent,
    /// Bytes read from peers, without TLS.
    bytes_received,
    /// Frames of the layer above given to a connection.
    frames_sent,
    /// Frames of the layer above received.
    frames_received,
    /// Frames dropped because too much waited for their peer.
    dropped_full,
    /// Frames dropped because their peer was not connected.
    dropped_unconnected,
    /// Received frames for which the layer above had no room.
    dropped_unwanted,
    /// Connections to members made again after they were lost.
    reconnects,
    /// Attempts to connect that failed.
    connects_failed,
    /// Connections accepted.
    accepted,
    /// Calls made.
    calls_made,
    /// Calls made that were not answered.
    calls_failed,
    /// Calls answered for others.
    calls_taken,
    /// Snapshots sent whole.
    snapshots_sent,
    /// Snapshots that could not be sent.
    snapshots_failed,
    /// Snapshots received whole.
    snapshots_received,
    /// Interrupted snapshots that went on where they were.
    snapshots_resumed,
}

impl Counters {
    pub fn refuse(&self, why: Refusal) {
        add(&self.refused[why as usize], 1);
    }
}

pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}
