//! What was acknowledged is there: a write that a client was told of survives every crash, partition and
//! change of members. (Raft paper, section 5.3: the leader answers after the entry is committed, and
//! committed entries are durable; section 8 for the client's view.)

use std::collections::BTreeMap;

use super::Fallen;

/// The acknowledged requests.
#[derive(Default)]
pub struct AcknowledgedIsDurable {
    acknowledged: BTreeMap<String, u64>,
    newest: u64,
}

impl AcknowledgedIsDurable {
    /// A client was told that `request` was applied at `index`.
    pub fn see(&mut self, request: &str, index: u64) {
        self.acknowledged.insert(request.to_owned(), index);
        self.newest = self.newest.max(index);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.acknowledged.len()
    }

    /// Asks a healed node: how often was each request applied (`times`), and which index its tables reached.
    pub fn check(&self, times: &BTreeMap<String, u64>, index: u64) -> Result<(), Fallen> {
        let lost = self.acknowledged.iter().find(|(request, _)| !times.contains_key(*request));
        if let Some((request, at)) = lost {
            let why =
                format!("{request} was acknowledged at index {at} and is gone (the tables are at {index})");
            return Err(Fallen { invariant: "acknowledged is durable", why });
        }
        if self.newest > index {
            let why = format!("index {} was acknowledged and the tables end at {index}", self.newest);
            return Err(Fallen { invariant: "acknowledged is durable", why });
        }
        Ok(())
    }
}
