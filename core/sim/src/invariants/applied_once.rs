//! Applied once: a request that a client sends again, or that a node forwards again, takes effect once.
//! (Raft paper, section 8; dissertation, section 6.3, "Implementing linearizable semantics".)

use std::collections::{BTreeMap, BTreeSet};

use super::Fallen;

/// Which requests had what chance to be applied.
#[derive(Default)]
pub struct AppliedOnce {
    refused: BTreeSet<String>,
}

impl AppliedOnce {
    /// Every attempt of `request` was answered with a certain refusal.
    pub fn refused(&mut self, request: &str) {
        self.refused.insert(request.to_owned());
    }

    /// Asks a healed node how often each request was applied.
    pub fn check(&self, times: &BTreeMap<String, u64>) -> Result<(), Fallen> {
        for (request, count) in times {
            if *count != 1 {
                let why = format!("{request} was applied {count} times");
                return Err(Fallen { invariant: "applied once", why });
            }
            if self.refused.contains(request) {
                let why = format!("{request} was refused for certain and applied nevertheless");
                return Err(Fallen { invariant: "applied once", why });
            }
        }
        Ok(())
    }
}
