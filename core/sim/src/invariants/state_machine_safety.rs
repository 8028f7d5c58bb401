//! State Machine Safety: if a server has applied a log entry at a given index to its state machine, no other
//! server will ever apply a different log entry for the same index. (Raft paper, figure 3 and section 5.4.3;
//! dissertation, section 3.6.3.)
//!
//! Seen from its end: at one applied index all stores hold the same bytes, with the window of request ids and
//! the members among them, whether they came by entries, by a snapshot or by a restart.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use konsul_state::store::Read;
use xxhash_rust::xxh3::Xxh3Default;

use super::Fallen;

/// The digest at each applied index, and who had it first.
#[derive(Default)]
pub struct StateMachineSafety {
    digests: BTreeMap<u64, (u64, u64)>,
}

impl StateMachineSafety {
    /// Compares the store of `raft_id` at Raft index `applied`.
    pub fn see(&mut self, raft_id: u64, applied: u64, digest: u64) -> Result<(), Fallen> {
        let first = *self.digests.entry(applied).or_insert((digest, raft_id));
        if first.0 == digest {
            return Ok(());
        }
        let why = format!(
            "at applied index {applied} {:x} holds {:016x} and {raft_id:x} holds {digest:016x}",
            first.1, first.0
        );
        Err(Fallen { invariant: "state machine safety", why })
    }
}

/// A digest of every pair of a store.
pub fn digest(store: &impl Read) -> Result<u64, String> {
    let mut hash = Xxh3Default::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        hash.update(&(key.len() as u32).to_le_bytes());
        hash.update(key);
        hash.update(&(value.len() as u32).to_le_bytes());
        hash.update(value);
        ControlFlow::Continue(())
    };
    store.scan(&[], None, &mut visit).map_err(|error| error.to_string())?;
    Ok(hash.digest())
}
