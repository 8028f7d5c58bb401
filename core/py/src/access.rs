//! `Access`, `Grant` and `Sight`: policies swapped as a whole, and what callers' policies add up to now.
//!
//! A grant is a live handle: it looks at one number, and when that has moved it adds its policies up anew. So
//! whoever holds one, for a request or in a watch that is open for days, follows a change at once.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use konsul_state::read;
use konsul_views::access::{Explained, GRANTED_MAX, Granted, Need, Openings, Policies, PolicyText};
use parking_lot::{Mutex, RwLock};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

/// Handles that have gone are looked for when there are so many.
const SWEEP_AT_FIRST: usize = 256;
/// Rules that sets of policies may hold compiled together, over all sets: some 100 MB. Past it a set is asked
/// policy by policy, which takes longer and no memory.
const TOGETHER_MAX: usize = 500_000;

type Handles = HashMap<BTreeSet<String>, Weak<Held>>;

#[derive(Default)]
struct Shared {
    policies: RwLock<Arc<Policies>>,
    /// Moves with every change of `policies`, under its lock.
    generation: AtomicU64,
    /// One change at a time: each is compiled from the one before.
    setting: Mutex<()>,
    handles: Mutex<(Handles, usize)>,
    /// Rules that sets hold compiled of their own.
    together: AtomicUsize,
}

/// What a set of policies adds up to, counted while anybody has it.
struct Sum {
    granted: Granted,
    shared: Arc<Shared>,
}

impl Drop for Sum {
    fn drop(&mut self) {
        self.shared.together.fetch_sub(self.granted.own_rules(), Ordering::Relaxed);
    }
}

/// A set of names and what they add up to.
struct Held {
    shared: Arc<Shared>,
    names: BTreeSet<String>,
    now: RwLock<(u64, Arc<Sum>)>,
}

impl Shared {
    fn sum(self: &Arc<Self>, names: &BTreeSet<String>) -> (u64, Arc<Sum>) {
        let policies = self.policies.read();
        let left = TOGETHER_MAX.saturating_sub(self.together.load(Ordering::Relaxed));
        let granted = policies.granted(names, left);
        self.together.fetch_add(granted.own_rules(), Ordering::Relaxed);
        (self.generation.load(Ordering::Acquire), Arc::new(Sum { granted, shared: self.clone() }))
    }
}

impl Held {
    /// Asks what the names add up to now. The question must not call Python: whoever takes its lock may wait
    /// for this one.
    fn ask<T>(&self, question: impl FnOnce(&Granted) -> T) -> T {
        let now = self.now.read();
        if now.0 == self.shared.generation.load(Ordering::Acquire) {
            return question(&now.1.granted);
        }
        drop(now);
        question(&self.renewed().granted)
    }

    fn sum(&self) -> Arc<Sum> {
        let now = self.now.read();
        if now.0 == self.shared.generation.load(Ordering::Acquire) {
            return now.1.clone();
        }
        drop(now);
        self.renewed()
    }

    fn renewed(&self) -> Arc<Sum> {
        let fresh = self.shared.sum(&self.names);
        let sum = fresh.1.clone();
        let mut now = self.now.write();
        if now.0 < fresh.0 {
            *now = fresh;
        }
        sum
    }
}

/// A path or a name as bytes. Half a surrogate, which no key can have, becomes what no rule names either.
fn bytes<'a>(text: &'a Bound<'_, PyAny>) -> PyResult<Cow<'a, [u8]>> {
    if let Ok(text) = text.cast::<PyString>() {
        return Ok(match text.to_string_lossy() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        });
    }
    Ok(Cow::Borrowed(text.cast::<PyBytes>()?.as_bytes()))
}

fn need(text: &str) -> PyResult<Need> {
    Need::parse(text).ok_or_else(|| PyValueError::new_err(format!("there is no permission {text:?}")))
}

/// All policies of the node.
#[pyclass(frozen, module = "konsul._core")]
pub(crate) struct Access {
    shared: Arc<Shared>,
}

#[pymethods]
impl Access {
    #[new]
    fn new() -> Self {
        Self { shared: Arc::default() }
    }

    fn set(&self, py: Python<'_>, policies: Vec<PolicyText>, default_allow: bool) -> PyResult<()> {
        py.detach(|| {
            let _alone = self.shared.setting.lock();
            let before = self.shared.policies.read().clone();
            let compiled = Policies::compile(policies, default_allow, &before)?;
            let mut current = self.shared.policies.write();
            let replaced = std::mem::replace(&mut *current, Arc::new(compiled));
            self.shared.generation.fetch_add(1, Ordering::Release);
            // Readers need not wait until it is taken apart.
            drop(current);
            drop((before, replaced));
            Ok(())
        })
        .map_err(|why: String| PyValueError::new_err(why))
    }

    fn grant(&self, names: Vec<String>) -> PyResult<Grant> {
        let names: BTreeSet<String> = names.into_iter().collect();
        if names.len() > GRANTED_MAX {
            return Err(PyValueError::new_err(format!(
                "too many policies: {} (max {GRANTED_MAX})",
                names.len()
            )));
        }
        let mut handles = self.shared.handles.lock();
        let (known, sweep_at) = &mut *handles;
        if let Some(held) = known.get(&names).and_then(Weak::upgrade) {
            return Ok(Grant { held });
        }
        if known.len() >= (*sweep_at).max(SWEEP_AT_FIRST) {
            known.retain(|_, held| held.strong_count() > 0);
            *sweep_at = 2 * known.len();
        }
        let now = RwLock::new(self.shared.sum(&names));
        let held = Arc::new(Held { shared: self.shared.clone(), names: names.clone(), now });
        known.insert(names, Arc::downgrade(&held));
        Ok(Grant { held })
    }

    fn stats(&self) -> (usize, usize, usize) {
        let (policies, rules) = self.shared.policies.read().counts();
        let grants = self.shared.handles.lock().0.values().filter(|held| held.strong_count() > 0).count();
        (policies, rules, grants)
    }
}

/// What a caller's policies add up to, now.
#[pyclass(frozen, module = "konsul._core")]
pub(crate) struct Grant {
    held: Arc<Held>,
}

type Told = (String, &'static str, usize, String, Vec<&'static str>, &'static str, bool);

#[pymethods]
impl Grant {
    #[getter]
    fn names(&self) -> Vec<&str> {
        self.held.names.iter().map(String::as_str).collect()
    }

    fn decide<'py>(
        &self,
        py: Python<'py>,
        needs: &str,
        resource: &Bound<'_, PyAny>,
    ) -> PyResult<(u8, Bound<'py, PyString>)> {
        let (need, resource) = (need(needs)?, bytes(resource)?);
        let sum = self.held.sum();
        let (outcome, reason) = sum.granted.decide(need, &resource);
        Ok((outcome as u8, PyString::new(py, reason)))
    }

    fn first_refused(&self, needs: &str, resources: Vec<Bound<'_, PyAny>>) -> PyResult<isize> {
        let need = need(needs)?;
        let sum = self.held.sum();
        for (at, resource) in resources.iter().enumerate() {
            if !sum.granted.allows(need, &bytes(resource)?) {
                return Ok(at as isize);
            }
        }
        Ok(-1)
    }

    fn could_list(&self, needs: &str, prefix: &Bound<'_, PyAny>) -> PyResult<bool> {
        let (need, prefix) = (need(needs)?, bytes(prefix)?);
        Ok(self.held.ask(|granted| granted.could(need, &prefix)))
    }

    fn sight(&self, needs: &str) -> PyResult<Sight> {
        Ok(Sight { need: need(needs)?, held: self.held.clone() })
    }

    fn explain(&self, needs: &str, resource: &Bound<'_, PyAny>) -> PyResult<Vec<Told>> {
        let (need, resource) = (need(needs)?, bytes(resource)?);
        let told = |one: Explained| {
            let Explained { policy, resource, rule, pattern, capabilities, effect, decides } = one;
            (policy, resource, rule, pattern, capabilities, effect, decides)
        };
        let matching = self.held.ask(|granted| granted.explain(need, &resource));
        Ok(matching.into_iter().map(told).collect())
    }
}

/// What a caller sees during one scan: a change of policies shows in the next.
pub(crate) struct Eyes {
    need: Need,
    sum: Arc<Sum>,
    /// Made when much is met that is not seen.
    openings: OnceCell<Openings>,
}

impl read::Sight for Eyes {
    fn sees(&self, key: &[u8]) -> bool {
        self.sum.granted.allows(self.need, self.need.named(key))
    }

    fn next(&self, key: &[u8]) -> read::Next {
        self.openings.get_or_init(|| self.sum.granted.openings(self.need)).next(key)
    }
}

/// What of a table a caller sees.
#[pyclass(frozen, module = "konsul._core")]
pub(crate) struct Sight {
    need: Need,
    held: Arc<Held>,
}

impl Sight {
    /// None: everything.
    pub(crate) fn eyes(&self) -> Option<Eyes> {
        let sum = self.held.sum();
        let sees_all = sum.granted.allows_all(self.need);
        (!sees_all).then(|| Eyes { need: self.need, sum, openings: OnceCell::new() })
    }
}

#[pymethods]
impl Sight {
    fn sees(&self, text: &Bound<'_, PyAny>) -> PyResult<bool> {
        let text = bytes(text)?;
        Ok(self.held.ask(|granted| granted.allows(self.need, self.need.named(&text))))
    }

    fn could_see(&self, prefix: &Bound<'_, PyAny>) -> PyResult<bool> {
        let prefix = bytes(prefix)?;
        Ok(self.held.ask(|granted| granted.could(self.need, self.need.named(&prefix))))
    }

    fn sees_all(&self) -> bool {
        self.held.ask(|granted| granted.allows_all(self.need))
    }
}
