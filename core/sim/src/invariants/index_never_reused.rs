//! An index is given once: the number a client is told names its write among all writes of the group, for
//! ever. (DESIGN section 4, "The index"; it stands on State Machine Safety, Raft paper section 5.4.3, and on
//! applied entries surviving restarts, section 5.1 of the dissertation.)

use std::collections::BTreeMap;

use super::Fallen;

/// Which write was given which index.
#[derive(Default)]
pub struct IndexNeverReused {
    given: BTreeMap<u64, String>,
}

impl IndexNeverReused {
    /// Notes that `request` was told `index`.
    pub fn see(&mut self, index: u64, request: &str) -> Result<(), Fallen> {
        let known = self.given.entry(index).or_insert_with(|| request.to_owned());
        if known == request {
            return Ok(());
        }
        let why = format!("index {index} was given to {known} and to {request}");
        Err(Fallen { invariant: "index never reused", why })
    }
}
