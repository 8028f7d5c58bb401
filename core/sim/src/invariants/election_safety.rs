//! Election Safety: at most one leader can be elected in a given term. (Ongaro and Ousterhout, "In Search of
//! an Understandable Consensus Algorithm", figure 3 and section 5.2; Ongaro's dissertation, section 3.4.)

use std::collections::BTreeMap;

use super::{Fallen, Sight};

/// Who led each term.
#[derive(Default)]
pub struct ElectionSafety {
    leaders: BTreeMap<u64, u64>,
}

impl ElectionSafety {
    /// Notes a leader.
    pub fn see(&mut self, sight: &Sight<'_>) -> Result<(), Fallen> {
        if !sight.is_leader {
            return Ok(());
        }
        let first = *self.leaders.entry(sight.term).or_insert(sight.raft_id);
        if first == sight.raft_id {
            return Ok(());
        }
        let why = format!("term {} is led by {first:x} and by {:x}", sight.term, sight.raft_id);
        Err(Fallen { invariant: "election safety", why })
    }
}
