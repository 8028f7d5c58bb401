//! The headers that tell a client what is left, made for every request: what does not change is made once.

use std::io::Write;

use konsul_limit::{Left, Rate};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

const LIMIT: usize = 0;
const REMAINING: usize = 1;
const RESET: usize = 2;
const POLICY: usize = 3;
const RATE_LIMIT: usize = 4;
const NAMES: [&[u8]; 5] =
    [b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset", b"ratelimit-policy", b"ratelimit"];

/// The headers of a rate, which most requests share.
struct OfRate {
    rate: Rate,
    limit: Py<PyTuple>,
    policy: Py<PyTuple>,
}

#[derive(Default)]
struct Made {
    /// By route class: those of the rate seen last.
    rates: Vec<Option<OfRate>>,
    /// The second told last.
    reset: Option<(u64, Py<PyTuple>)>,
}

pub(crate) struct Headers {
    names: [Py<PyBytes>; 5],
    made: Mutex<Made>,
}

impl Headers {
    pub(crate) fn new(py: Python<'_>) -> Self {
        Self { names: NAMES.map(|name| PyBytes::new(py, name).unbind()), made: Mutex::default() }
    }

    /// Those of one answer; `policy` is the name of what limits it.
    pub(crate) fn of<'py>(
        &self,
        py: Python<'py>,
        left: Left,
        policy: &str,
        class_id: usize,
        reset_s: u64,
    ) -> PyResult<Bound<'py, PyList>> {
        let full_s = left.full_ms.map_or(0, |ms| ms.div_ceil(1_000));
        let remaining = self.header(py, REMAINING, format_args!("{}", left.tokens))?;
        let rest = self.header(py, RATE_LIMIT, format_args!("\"{policy}\";r={};t={full_s}", left.tokens))?;
        let mut made = self.made.lock();
        if made.rates.len() <= class_id {
            made.rates.resize_with(class_id + 1, || None);
        }
        let of_rate = match &mut made.rates[class_id] {
            Some(known) if known.rate == left.rate => known,
            place => place.insert(self.of_rate(py, left.rate, policy)?),
        };
        let (limit, policy) = (of_rate.limit.clone_ref(py), of_rate.policy.clone_ref(py));
        let reset = match &made.reset {
            Some((second, told)) if *second == reset_s => told.clone_ref(py),
            _ => {
                let told = self.header(py, RESET, format_args!("{reset_s}"))?;
                made.reset = Some((reset_s, told.clone_ref(py)));
                told
            }
        };
        PyList::new(py, [limit, remaining, reset, policy, rest])
    }

    fn of_rate(&self, py: Python<'_>, rate: Rate, policy: &str) -> PyResult<OfRate> {
        let window_s = rate.fill_ms().map_or(0, |ms| ms.div_ceil(1_000).max(1));
        Ok(OfRate {
            rate,
            limit: self.header(py, LIMIT, format_args!("{}", rate.burst))?,
            policy: self.header(py, POLICY, format_args!("\"{policy}\";q={};w={window_s}", rate.burst))?,
        })
    }

    fn header(&self, py: Python<'_>, name: usize, value: std::fmt::Arguments<'_>) -> PyResult<Py<PyTuple>> {
        let mut text = [0; 96];
        let mut room = &mut text[..];
        let size = room.len();
        // Numbers of 20 digits and the name of a class fit; what did not would be cut.
        let _ = room.write_fmt(value);
        let used = size - room.len();
        let pair = [self.names[name].clone_ref(py), PyBytes::new(py, &text[..used]).unbind()];
        Ok(PyTuple::new(py, pair)?.unbind())
    }
}
