//! Everything that is open, so that it can be counted and stopped.

use std::sync::Arc;

use parking_lot::Mutex;

/// Numbered slots, reused.
pub(crate) struct Registry<T> {
    slots: Mutex<Slots<T>>,
}

struct Slots<T> {
    held: Vec<Option<Arc<T>>>,
    free: Vec<usize>,
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Self { slots: Mutex::new(Slots { held: Vec::new(), free: Vec::new() }) }
    }
}

impl<T> Registry<T> {
    pub(crate) fn add(&self, item: Arc<T>) -> usize {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.free.pop() {
            slots.held[slot] = Some(item);
            return slot;
        }
        slots.held.push(Some(item));
        slots.held.len() - 1
    }

    pub(crate) fn remove(&self, slot: usize) {
        let mut slots = self.slots.lock();
        let item = slots.held[slot].take();
        slots.free.push(slot);
        drop(slots);
        drop(item);
    }

    pub(crate) fn len(&self) -> usize {
        let slots = self.slots.lock();
        slots.held.len() - slots.free.len()
    }

    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        self.slots.lock().held.iter().flatten().cloned().collect()
    }
}
