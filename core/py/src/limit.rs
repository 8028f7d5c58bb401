//! `Limiter`: a token bucket per client, bounded. The rate is a count per period, which may be a minute.

use std::collections::HashMap;

use konsul_limit::{Bucket, Rate};
use konsul_node::code;
use parking_lot::Mutex;
use pyo3::prelude::*;

use crate::door::error;

/// Buckets count per second of their own clock; a period is made one such second of this many steps.
const STEPS_PER_PERIOD: u64 = 1_000;

struct Clients {
    buckets: HashMap<String, Bucket>,
    /// Shared by those who come when no place is left, so that many addresses buy no rate.
    rest: Bucket,
    /// The step of the clock at which places were last looked for: once a step is enough.
    swept_at: Option<u64>,
}

/// Takes tokens of clients by name.
#[pyclass(frozen, module = "konsul._core")]
pub(crate) struct Limiter {
    rate: Rate,
    period_ms: u64,
    clients_max: usize,
    clients: Mutex<Clients>,
}

#[pymethods]
impl Limiter {
    #[new]
    fn new(count: u32, period_ms: u64, clients_max: usize) -> PyResult<Self> {
        if count == 0 || period_ms == 0 || clients_max == 0 {
            return Err(error(code::INVALID, "a limiter needs a count, a period and a client"));
        }
        let rate = Rate { per_second: count, burst: count };
        let clients = Clients { buckets: HashMap::new(), rest: Bucket::new(rate, 0), swept_at: None };
        Ok(Self { rate, period_ms, clients_max, clients: Mutex::new(clients) })
    }

    /// Takes `count` tokens or none. Returns 0, or the milliseconds until they are there; None: never.
    fn take(&self, client: &str, count: u32, now_ms: u64) -> Option<u64> {
        let now = self.steps(now_ms);
        let mut clients = self.clients.lock();
        let bucket = self.bucket(&mut clients, client, now);
        let level = bucket.level(now);
        if level >= count {
            for _ in 0..count {
                // There are enough: none of these can be refused.
                let _ = bucket.take(now);
            }
            return Some(0);
        }
        if count > self.rate.burst {
            return None;
        }
        let missing = u64::from(count - level);
        Some((missing * self.period_ms).div_ceil(u64::from(self.rate.per_second)).max(1))
    }

    /// How many clients have a bucket of their own now.
    fn clients(&self) -> usize {
        self.clients.lock().buckets.len()
    }
}

impl Limiter {
    fn steps(&self, now_ms: u64) -> u64 {
        // In 128 bits: a clock that began long ago must not wrap.
        (u128::from(now_ms) * u128::from(STEPS_PER_PERIOD) / u128::from(self.period_ms)) as u64
    }

    fn bucket<'a>(&self, clients: &'a mut Clients, client: &str, now: u64) -> &'a mut Bucket {
        let Clients { buckets, rest, swept_at } = clients;
        if !buckets.contains_key(client) {
            if buckets.len() >= self.clients_max && *swept_at != Some(now) {
                *swept_at = Some(now);
                // A full bucket remembers nothing: forgetting it gives its client nothing.
                buckets.retain(|_, bucket| bucket.level(now) < self.rate.burst);
            }
            if buckets.len() >= self.clients_max {
                return rest;
            }
            buckets.insert(client.to_owned(), Bucket::new(self.rate, now));
        }
        buckets.get_mut(client).unwrap_or(rest)
    }
}
