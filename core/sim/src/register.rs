//! What one key does: the sequential object that a history is compared with.

use std::collections::BTreeMap;
use std::fmt;

use crate::history::{Kind, Operation, Outcome};

/// A number for a value; equal values have equal numbers.
type ValueId = u64;

/// What an operation does to the register, or found there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Writes; with the index it was given, if anybody knows.
    Put { value: ValueId, index: Option<u64> },
    /// Writes if the row is at `expect`. `is_certain`: it was told that it did.
    Cas { value: ValueId, expect: u64, index: Option<u64>, is_certain: bool },
    /// Removes.
    Delete { index: Option<u64> },
    /// Found this.
    Get { found: Option<ValueId>, index: Option<u64> },
    /// The row was not at `expect`, but at `found` if that was told.
    Refused { expect: u64, found: Option<u64> },
    /// There was no row to delete.
    Missing,
}

/// An operation with its meaning.
pub(crate) struct Step<'a> {
    pub start_us: u64,
    /// `None`: unknown whether it happened.
    pub end_us: Option<u64>,
    pub action: Action,
    pub operation: &'a Operation,
}

/// One key's row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Register {
    /// The value and its modify_index, if that is known.
    row: Option<(ValueId, Option<u64>)>,
    /// The greatest index among the writes so far.
    last_index: u64,
}

impl Action {
    /// The index that the write was given.
    pub fn index(&self) -> Option<u64> {
        match self {
            Self::Put { index, .. } | Self::Cas { index, .. } | Self::Delete { index } => *index,
            Self::Get { .. } | Self::Refused { .. } | Self::Missing => None,
        }
    }
}

impl Register {
    /// The register after `action`; `None` if it contradicts what is there.
    pub fn after(&self, action: &Action) -> Option<Self> {
        if action.index().is_some_and(|index| index <= self.last_index) {
            return None;
        }
        match action {
            Action::Put { value, index } => Some(self.written(Some((*value, *index)), *index)),
            Action::Delete { index } => Some(self.written(None, *index)),
            Action::Cas { value, expect, index, is_certain } => match self.is_at(*expect) {
                true => Some(self.written(Some((*value, *index)), *index)),
                false => (!is_certain).then(|| self.clone()),
            },
            Action::Get { found: None, .. } => self.row.is_none().then(|| self.clone()),
            Action::Get { found: Some(found), index } => {
                let (value, at) = self.row?;
                let is_same = value == *found && agrees(at, *index);
                is_same.then(|| self.clone())
            }
            Action::Refused { expect, found } => {
                let is_known = self.row.is_none_or(|(_, at)| at.is_some());
                let may_refuse = !is_known || !self.is_at(*expect);
                let is_found = found.is_none_or(|found| self.is_at(found));
                (may_refuse && is_found).then(|| self.clone())
            }
            Action::Missing => self.row.is_none().then(|| self.clone()),
        }
    }

    fn written(&self, row: Option<(ValueId, Option<u64>)>, index: Option<u64>) -> Self {
        Self { row, last_index: index.unwrap_or(self.last_index) }
    }

    /// An index that nobody was told may be any.
    fn is_at(&self, expect: u64) -> bool {
        match self.row {
            None => expect == 0,
            Some((_, at)) => expect > 0 && agrees(at, Some(expect)),
        }
    }

    /// A number that differs for different registers.
    pub fn mark(&self) -> u128 {
        let (value, index) = self.row.map_or((u64::MAX, None), |(value, index)| (value, index));
        let mut seed =
            value ^ self.last_index.rotate_left(20) ^ index.map_or(1 << 63, |at| at.rotate_left(41));
        let high = u128::from(crate::prng::splitmix(&mut seed));
        high << 64 | u128::from(crate::prng::splitmix(&mut seed))
    }
}

impl fmt::Display for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row {
            Some((_, Some(index))) => write!(f, "a row with modify_index {index}"),
            Some((_, None)) => write!(f, "a row of an unanswered write (last index {})", self.last_index),
            None => write!(f, "no row (last index {})", self.last_index),
        }
    }
}

fn agrees(one: Option<u64>, other: Option<u64>) -> bool {
    one.is_none() || other.is_none() || one == other
}

/// The meaning of one key's operations. What certainly had no effect and read nothing is left out.
pub(crate) fn actions<'a>(operations: &[&'a Operation]) -> Vec<Step<'a>> {
    let mut ids: BTreeMap<&str, (ValueId, u32)> = BTreeMap::new();
    let mut seen_at: BTreeMap<&str, u64> = BTreeMap::new();
    for op in operations {
        let next = ids.len() as ValueId;
        let value = if op.kind == Kind::Get { op.value.as_deref() } else { Some(op.arg.as_str()) };
        let Some(value) = value else { continue };
        let known = ids.entry(value).or_insert((next, 0));
        known.1 += u32::from(matches!(op.kind, Kind::Put | Kind::Cas));
        if let (Kind::Get, Some(index)) = (op.kind, op.index) {
            seen_at.insert(value, index);
        }
    }
    let action = |op: &Operation| {
        let id = |value: &str| ids.get(value).map_or(ValueId::MAX, |known| known.0);
        // An unanswered write of a value that nobody else wrote has the index at which it was read.
        let is_only = ids.get(op.arg.as_str()).is_some_and(|known| known.1 == 1);
        let read_at = || seen_at.get(op.arg.as_str()).copied().filter(|_| is_only);
        let index = op.index.filter(|index| *index > 0);
        Some(match (op.kind, op.outcome) {
            (Kind::Put, Outcome::Ok) => Action::Put { value: id(&op.arg), index },
            (Kind::Put, Outcome::Unknown) => Action::Put { value: id(&op.arg), index: read_at() },
            (Kind::Cas, Outcome::Ok) => {
                Action::Cas { value: id(&op.arg), expect: op.expect_index, index, is_certain: true }
            }
            (Kind::Cas, Outcome::Unknown) => {
                let (value, expect, index) = (id(&op.arg), op.expect_index, read_at());
                Action::Cas { value, expect, index, is_certain: index.is_some() }
            }
            (Kind::Cas, Outcome::Fail) => Action::Refused { expect: op.expect_index, found: op.index },
            (Kind::Delete, Outcome::Ok) => Action::Delete { index },
            (Kind::Delete, Outcome::Unknown) => Action::Delete { index: None },
            (Kind::Delete, Outcome::Fail) => Action::Missing,
            (Kind::Get, Outcome::Ok) => Action::Get { found: op.value.as_deref().map(id), index },
            (Kind::Put, Outcome::Fail) | (Kind::Get, Outcome::Fail | Outcome::Unknown) => return None,
        })
    };
    let known_end = |op: &Operation| op.end_us.filter(|_| op.outcome != Outcome::Unknown);
    let step = |op: &&'a Operation| {
        let operation: &'a Operation = op;
        let action = action(operation)?;
        Some(Step { start_us: operation.start_us, end_us: known_end(operation), action, operation })
    };
    operations.iter().filter_map(step).collect()
}
