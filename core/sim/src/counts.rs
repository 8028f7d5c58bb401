//! How often each kind of fault and event happened, over all seeds.

use std::collections::BTreeMap;

/// Names with their numbers, in the order of the names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    /// Counts one.
    pub fn add(&mut self, name: &'static str) {
        self.more(name, 1);
    }

    /// Counts several at once.
    pub fn more(&mut self, name: &'static str, by: u64) {
        *self.0.entry(name).or_default() += by;
    }

    /// How many of one.
    pub fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Adds another run's.
    pub fn merge(&mut self, other: &Self) {
        for (name, number) in &other.0 {
            self.more(name, *number);
        }
    }

    /// One line for each.
    pub fn lines(&self) -> Vec<String> {
        self.0.iter().map(|(name, number)| format!("{number:>12} {name}")).collect()
    }
}
