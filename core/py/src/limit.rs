//! `Limiter`: a token bucket per client, bounded. The rate is a count per period, which may be a minute.

use std::hash::{BuildHasher, RandomState};

use konsul_limit::{Now, Rate, Table};
use konsul_node::code;
use parking_lot::Mutex;
use pyo3::prelude::*;

use crate::door::error;

/// Buckets count per second of their own clock; a period is made one such second of this many steps.
const STEPS_PER_PERIOD: u128 = 1_000;

/// What clients' places are found by, so that nobody can choose names that collide.
pub(crate) fn secret() -> u64 {
    RandomState::new().hash_one(0)
}

/// Takes tokens of clients by name.
#[pyclass(frozen, module = "konsul._core")]
pub(crate) struct Limiter {
    count: u32,
    period_ms: u64,
    clients: Mutex<Table<Box<str>>>,
}

#[pymethods]
impl Limiter {
    #[new]
    fn new(count: u32, period_ms: u64, clients_max: usize) -> PyResult<Self> {
        if count == 0 || period_ms == 0 || clients_max == 0 {
            return Err(error(code::INVALID, "a limiter needs a count, a period and a client"));
        }
        let clients = Mutex::new(Table::new(Rate::per_second(count, count), clients_max, secret()));
        Ok(Self { count, period_ms, clients })
    }

    /// Takes `count` tokens or none. Returns 0, or the milliseconds until they are there; None: never.
    fn take(&self, client: &str, count: u32, now_ms: u64) -> Option<u64> {
        if count > self.count {
            return None;
        }
        let now = self.steps(now_ms);
        let mut clients = self.clients.lock();
        let taken = match clients.place(client, || client.into(), || None, now) {
            Some(place) => place.bucket.take(count, now.clock_ms),
            None => clients.rest().take(count, now.clock_ms),
        };
        let steps = taken.err().map_or(Some(0), |wait| wait)?;
        let wait_ms = (u128::from(steps) * u128::from(self.period_ms)).div_ceil(STEPS_PER_PERIOD);
        Some(u64::try_from(wait_ms).unwrap_or(u64::MAX))
    }

    /// Gives `count` tokens back to a client that took them; one that was forgotten meanwhile has them.
    fn give(&self, client: &str, count: u32, now_ms: u64) {
        let now = self.steps(now_ms);
        let mut clients = self.clients.lock();
        match clients.get(client) {
            Some(place) => place.bucket.give(count, now.clock_ms),
            None => clients.rest().give(count, now.clock_ms),
        }
    }

    /// How many clients have a bucket of their own now.
    fn clients(&self) -> usize {
        self.clients.lock().len()
    }
}

impl Limiter {
    fn steps(&self, now_ms: u64) -> Now {
        // In 128 bits, and to the end of the clock: one that began long ago must not wrap.
        let steps = u128::from(now_ms) * STEPS_PER_PERIOD / u128::from(self.period_ms);
        Now::at(u64::try_from(steps).unwrap_or(u64::MAX))
    }
}
