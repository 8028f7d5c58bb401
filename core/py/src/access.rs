//! `Access`, `Grant` and `Sight`: policies swapped as a whole, and what callers' policies add up to now.
//!
//! A grant is a live handle: it looks at one number, and when that has moved it adds its policies up anew. So
//! whoever holds one, for a request or in a watch that is open for days, follows a change at once.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use konsul_views::access::{Explained, GRANTED_MAX, Granted, Need, Policies, PolicyText};
use parking_lot::{Mutex, RwLock};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

/// Handles that have gone are looked for when there are so many.
const SWEEP_AT_FIRST: usize = 256;

type Handles = HashMap<BTreeSet<String>, Weak<Held>>;

#[derive(Default)]
struct Shared {
    policies: RwLock<Arc<Policies>>,
    /// Moves with every change of `policies`, under its lock.
    generation: AtomicU64,
    /// One change at a time: each is compiled from the one before.
    setting: Mutex<()>,
    handles: Mutex<(Handles, usize)>,
}

/// A set of names and what they add up to.
struct Held {
    shared: Arc<Shared>,
    names: BTreeSet<String>,
    now: RwLock<(u64, Arc<Granted>)>,
}

impl Shared {
    fn granted(&self, names: &BTreeSet<String>) -> (u64, Arc<Granted>) {
        let policies = self.policies.read();
        (self.generation.load(Ordering::Acquire), Arc::new(policies.granted(names)))
    }
}

impl Held {
    /// Asks what the names add up to now.
    fn ask<T>(&self, question: impl FnOnce(&Granted) -> T) -> T {
        let now = self.now.read();
        if now.0 == self.shared.generation.load(Ordering::Acquire) {
            return question(&now.1);
        }
        drop(now);
        question(&self.renewed())
    }

    fn granted(&self) -> Arc<Granted> {
        let now = self.now.read();
        if now.0 == self.shared.generation.load(Ordering::Acquire) {
            return now.1.clone();
        }
        drop(now);
        self.renewed()
    }

    fn renewed(&self) -> Arc<Granted> {
        let fresh = self.shared.granted(&self.names);
        let granted = fresh.1.clone();
        let mut now = self.now.write();
        if now.0 < fresh.0 {
            *now = fresh;
        }
        granted
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
        // What is replaced is dropped here too: many rules take their time.
        py.detach(|| {
            let _alone = self.shared.setting.lock();
            let before = self.shared.policies.read().clone();
            let compiled = Policies::compile(policies, default_allow, &before)?;
            let mut current = self.shared.policies.write();
            *current = Arc::new(compiled);
            self.shared.generation.fetch_add(1, Ordering::Release);
            Ok(())
        })
        .map_err(|why: String| PyValueError::new_err(why))
    }

    fn grant(&self, names: Vec<String>) -> PyResult<Grant> {
        let names: BTreeSet<String> = names.into_iter().collect();
        if names.len() > GRANTED_MAX {
            return Err(PyValueError::new_err(format!("too many policies: {} (max {GRANTED_MAX})", names.len())));
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
        let now = RwLock::new(self.shared.granted(&names));
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
        self.held.ask(|granted| {
            let (outcome, reason) = granted.decide(need, &resource);
            Ok((outcome as u8, PyString::new(py, reason)))
        })
    }

    fn first_refused(&self, needs: &str, resources: Vec<Bound<'_, PyAny>>) -> PyResult<isize> {
        let need = need(needs)?;
        self.held.ask(|granted| {
            for (at, resource) in resources.iter().enumerate() {
                if !granted.allows(need, &bytes(resource)?) {
                    return Ok(at as isize);
                }
            }
            Ok(-1)
        })
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
    granted: Arc<Granted>,
}

impl Eyes {
    pub(crate) fn see(&self, key: &[u8]) -> bool {
        self.granted.allows(self.need, self.need.named(key))
    }
}

/// What of a table a caller sees.
#[pyclass(frozen, module = "konsul._core")]
pub(crate) struct Sight {
    need: Need,
    held: Arc<Held>,
}

impl Sight {
    pub(crate) fn eyes(&self) -> Eyes {
        Eyes { need: self.need, granted: self.held.granted() }
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
