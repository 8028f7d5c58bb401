//! The watches that share one pattern.

use std::collections::BTreeMap;

use crate::facts::Facts;

/// The first of a watch's conditions: a column and its index value.
pub(crate) type First<'w> = Option<&'w (u8, Box<[u8]>)>;

type ByValue = BTreeMap<u8, BTreeMap<Box<[u8]>, Vec<u32>>>;

/// Watches by the first value they ask for, so that a change meets only those it may concern.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    plain: Vec<u32>,
    by_value: Option<Box<ByValue>>,
}

impl Lane {
    pub(crate) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.by_value.is_none()
    }

    pub(crate) fn add(&mut self, first: First<'_>, slot: u32) {
        match first {
            None => self.plain.push(slot),
            Some((column, value)) => {
                let values = self.by_value.get_or_insert_default().entry(*column).or_default();
                values.entry(value.clone()).or_default().push(slot);
            }
        }
    }

    /// Takes a watch out, and with the last of them the memory they had.
    pub(crate) fn remove(&mut self, first: First<'_>, slot: u32) {
        let Some((column, value)) = first else { return take_out(&mut self.plain, slot) };
        let Some(by_value) = &mut self.by_value else { return };
        let Some(values) = by_value.get_mut(column) else { return };
        if let Some(slots) = values.get_mut(value) {
            take_out(slots, slot);
            if slots.is_empty() {
                values.remove(value);
            }
        }
        if values.is_empty() {
            by_value.remove(column);
        }
        if by_value.is_empty() {
            self.by_value = None;
        }
    }

    /// Appends those that a change with these facts may concern.
    pub(crate) fn find(&self, facts: &Facts, hits: &mut Vec<u32>) {
        hits.extend_from_slice(&self.plain);
        let Some(by_value) = &self.by_value else { return };
        for (column, value) in facts.iter() {
            if let Some(slots) = by_value.get(&column).and_then(|values| values.get(value)) {
                hits.extend_from_slice(slots);
            }
        }
    }
}

fn take_out(slots: &mut Vec<u32>, slot: u32) {
    if let Some(at) = slots.iter().position(|each| *each == slot) {
        slots.swap_remove(at);
    }
    if slots.len() < slots.capacity() / 4 {
        slots.shrink_to(slots.len() * 2);
    }
}
