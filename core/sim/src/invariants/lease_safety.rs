//! Lease safety: while one node serves reads on the strength of its lease, no other node does, and nobody has
//! committed what it does not know. (Dissertation, section 6.4.1, "Using clocks to reduce messaging for
//! read-only queries".)

use std::collections::BTreeSet;

use super::Fallen;

/// Who holds a lease at this moment.
#[derive(Default)]
pub struct LeaseSafety {
    holders: BTreeSet<usize>,
}

impl LeaseSafety {
    /// Looks at one machine: whether whoever runs there would serve a default read now without asking.
    pub fn see(&mut self, slot: usize, holds: bool) {
        if holds {
            self.holders.insert(slot);
        } else {
            self.holders.remove(&slot);
        }
    }

    /// True if somebody besides `slot` was holding one when last looked at.
    pub fn others(&self, slot: usize) -> Vec<usize> {
        self.holders.iter().copied().filter(|other| *other != slot).collect()
    }

    /// Two machines hold one at this moment.
    pub fn fallen(one: u64, other: u64) -> Fallen {
        let why = format!("{one:x} and {other:x} both serve default reads");
        Fallen { invariant: "lease safety", why }
    }
}
