//! Linearizable clients: one register per key, changing at one moment between each request and its answer,
//! explains everything all clients saw. (Herlihy and Wing 1990; dissertation, section 6.3 for writes and 6.4
//! for reads.)

use super::Fallen;
use crate::history::Operation;
use crate::linearizable::{STEPS_MAX, Verdict, check};

/// What the clients did.
#[derive(Default)]
pub struct LinearizableClients {
    /// In the order of their answers.
    pub history: Vec<Operation>,
}

impl LinearizableClients {
    /// Searches for that register's life. `Ok(false)`: the search was given up.
    pub fn check(&self) -> Result<bool, Fallen> {
        match check(&self.history, STEPS_MAX) {
            Verdict::Linearizable => Ok(true),
            Verdict::Undecided(_) => Ok(false),
            Verdict::Broken(why) => Err(Fallen { invariant: "linearizable clients", why }),
        }
    }
}
