//! `RateLimits`: the limits of a node as the pipeline asks them, with the headers of the answer.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use konsul_limit::{
    Address, Client, Cost, Custom, FOR_EVER, Kind, Left, Limits, List, Network, Now, Rate, Scope, Verdict,
    client_text, network_text, read_client,
};
use konsul_node::code;
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::door::error;
use crate::limit::secret;
use crate::limit_headers::Headers;
use crate::limit_rows::{Row, listed, most, row, tokens};

const NOBODY: u8 = 3;
const UNLIMITED: u8 = 0;
const WHITELISTED: u8 = 1;
const ALLOWED: u8 = 2;
const REFUSED: u8 = 3;
/// Blacklisted: this, plus the kind.
const BLACKLISTED: u8 = 4;

/// `(kind, id, Unix ms until which it is listed or None)`.
type Listed = (u8, String, Option<u64>);
/// `(number, Unix ms, kind, id, class, cost, tokens)`.
type Refused = (u64, u64, u8, String, u8, u32, f64);

/// The limits of one node.
#[pyclass(frozen, module = "konsul._core")]
pub(crate) struct RateLimits {
    limits: Mutex<Limits>,
    headers: Headers,
    /// By route class: under which name its policy is told.
    policies: Vec<String>,
    with_headers: bool,
    began: Instant,
    /// What the numbers of refusals begin at: above all of an earlier start, so that who follows misses none.
    first_number: u64,
}

#[pymethods]
impl RateLimits {
    #[new]
    #[pyo3(signature = (rate, classes, *, clients_max, history_max, with_headers))]
    fn new(
        py: Python<'_>,
        rate: (u64, u32),
        classes: Vec<Option<(String, u64, u32)>>,
        clients_max: usize,
        history_max: usize,
        with_headers: bool,
    ) -> PyResult<Self> {
        let own: Vec<Option<Rate>> =
            classes.iter().map(|class| class.as_ref().map(|class| rate_of((class.1, class.2)))).collect();
        let nothing = |rate: &Rate| rate.burst == 0 || rate.micros_per_second == 0;
        if nothing(&rate_of(rate)) || own.iter().flatten().any(nothing) || clients_max == 0 || own.len() > 255
        {
            return Err(error(code::INVALID, "a rate limit needs a rate, a burst and a client"));
        }
        Ok(Self {
            limits: Mutex::new(Limits::new(rate_of(rate), &own, clients_max, history_max, secret())),
            headers: Headers::new(py),
            policies: classes
                .into_iter()
                .map(|class| class.map_or_else(|| "default".into(), |(name, _, _)| name))
                .collect(),
            with_headers,
            began: Instant::now(),
            first_number: unix_ms() * 1_000,
        })
    }

    /// Spends `cost`. Answers `(verdict, headers, ms to wait or -1, Unix second of the next token)`.
    #[pyo3(signature = (scope, id, address, class_id, cost, now=None, spent=0))]
    #[expect(clippy::too_many_arguments, reason = "Python's signature")]
    fn take<'py>(
        &self,
        py: Python<'py>,
        scope: u8,
        id: &str,
        address: &str,
        class_id: u8,
        cost: u32,
        now: Option<(u64, u64)>,
        spent: u32,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let now = self.now(now);
        let cost = Cost { more: cost, spent };
        let scope = match scope {
            0 => Scope::Address,
            1 => Scope::Key(id),
            2 => Scope::User(id),
            NOBODY => Scope::Nobody,
            _ => return Err(error(code::INVALID, "no such scope")),
        };
        let verdict = self.limits.lock().take(scope, Address::read(address), class_id, cost, now);
        let (number, left) = match verdict {
            Verdict::Unlimited => (UNLIMITED, None),
            Verdict::Whitelisted => (WHITELISTED, None),
            Verdict::Blacklisted(kind) => (BLACKLISTED + kind as u8, None),
            Verdict::Allowed(left) => (ALLOWED, Some(left)),
            Verdict::Refused(left) => (REFUSED, Some(left)),
        };
        let Some(left) = left else { return (number, PyList::empty(py), 0, 0).into_pyobject(py) };
        let reset_s = reset_s(left, now.unix_ms);
        let headers = match self.with_headers {
            true => self.headers(py, left, class_id, reset_s)?,
            false => PyList::empty(py),
        };
        let wait_ms = left.wait_ms.map_or(-1, |wait_ms| i64::try_from(wait_ms).unwrap_or(i64::MAX));
        (number, headers, wait_ms, reset_s).into_pyobject(py)
    }

    /// Changes the rate of all that have none of their own.
    #[pyo3(signature = (rate, now=None))]
    fn set_rate(&self, rate: (u64, u32), now: Option<(u64, u64)>) -> PyResult<()> {
        if rate.0 == 0 || rate.1 == 0 {
            return Err(error(code::INVALID, "a rate limit needs a rate and a burst"));
        }
        self.limits.lock().set_rate(rate_of(rate), self.now(now).clock_ms);
        Ok(())
    }

    /// Replaces all rates of clients' own: `(kind, id, rate, Unix ms until which it holds)`.
    #[pyo3(signature = (customs, now=None))]
    fn set_customs(
        &self,
        customs: Vec<(u8, String, (u64, u32), u64)>,
        now: Option<(u64, u64)>,
    ) -> PyResult<()> {
        let read: PyResult<Vec<(Client, Custom)>> = customs
            .into_iter()
            .map(|(kind, id, rate, until_ms)| Ok((named(kind, &id)?, (rate_of(rate), until_ms))))
            .collect();
        self.limits.lock().set_customs(read?, self.now(now));
        Ok(())
    }

    /// Replaces both lists.
    fn set_lists(&self, white: Vec<Listed>, black: Vec<Listed>) -> PyResult<()> {
        let (white, black) = (list(&white)?, list(&black)?);
        self.limits.lock().set_lists(white, black);
        Ok(())
    }

    /// Up to `count` clients of a kind, by name.
    #[pyo3(signature = (kind, count, now=None))]
    fn clients(&self, kind: u8, count: usize, now: Option<(u64, u64)>) -> PyResult<Vec<Row>> {
        let now_ms = self.now(now).clock_ms;
        let mut limits = self.limits.lock();
        let pool = limits.shared();
        Ok(match read_kind(kind)? {
            Kind::Address => listed(&mut pool.addresses, kind, count, now_ms, |bits| client_text(*bits)),
            Kind::Key => listed(&mut pool.keys, kind, count, now_ms, |id| id.to_string()),
            Kind::User => listed(&mut pool.users, kind, count, now_ms, |id| id.to_string()),
        })
    }

    /// The `count` clients with the most refusals, or with the most requests.
    #[pyo3(signature = (by_denied, count, now=None))]
    fn top(&self, by_denied: bool, count: usize, now: Option<(u64, u64)>) -> Vec<Row> {
        let now_ms = self.now(now).clock_ms;
        let mut limits = self.limits.lock();
        let pool = limits.shared();
        let mut rows =
            most(pool.addresses.places_mut(), 0, by_denied, count, now_ms, |bits| client_text(*bits));
        rows.extend(most(pool.keys.places_mut(), 1, by_denied, count, now_ms, |id| id.to_string()));
        rows.extend(most(pool.users.places_mut(), 2, by_denied, count, now_ms, |id| id.to_string()));
        rows.sort_by_key(|row| std::cmp::Reverse(if by_denied { row.8 } else { row.7 + row.8 }));
        rows.truncate(count);
        rows
    }

    /// One client, if it has a bucket.
    #[pyo3(signature = (kind, id, now=None))]
    fn client(&self, kind: u8, id: &str, now: Option<(u64, u64)>) -> PyResult<Option<Row>> {
        let now_ms = self.now(now).clock_ms;
        let mut limits = self.limits.lock();
        let pool = limits.shared();
        Ok(match read_kind(kind)? {
            Kind::Address => read_client(id).and_then(|bits| {
                pool.addresses.get(&bits).map(|place| row(place, kind, client_text(bits), now_ms))
            }),
            Kind::Key => pool.keys.get(id).map(|place| row(place, kind, id.into(), now_ms)),
            Kind::User => pool.users.get(id).map(|place| row(place, kind, id.into(), now_ms)),
        })
    }

    /// Forgets a client, which starts full when it comes again. False: there was none.
    fn forget(&self, kind: u8, id: &str) -> PyResult<bool> {
        let kind = read_kind(kind)?;
        let mut limits = self.limits.lock();
        Ok(limits.pools_mut().iter_mut().fold(false, |was_there, pool| {
            let is_gone = match kind {
                Kind::Address => read_client(id).is_some_and(|bits| pool.addresses.forget(&bits)),
                Kind::Key => pool.keys.forget(id),
                Kind::User => pool.users.forget(id),
            };
            was_there || is_gone
        }))
    }

    /// Forgets every client of a kind.
    fn forget_all(&self, kind: u8) -> PyResult<()> {
        let (kind, now_ms) = (read_kind(kind)?, self.now(None).clock_ms);
        for pool in self.limits.lock().pools_mut() {
            match kind {
                Kind::Address => pool.addresses.clear(now_ms),
                Kind::Key => pool.keys.clear(now_ms),
                Kind::User => pool.users.clear(now_ms),
            }
        }
        Ok(())
    }

    /// Looks at `count` buckets of each table and drops those unused for `idle_ms`. Returns how many.
    #[pyo3(signature = (idle_ms, count, now=None))]
    fn sweep(&self, idle_ms: u64, count: usize, now: Option<(u64, u64)>) -> usize {
        let now_ms = self.now(now).clock_ms;
        let mut limits = self.limits.lock();
        limits.pools_mut().iter_mut().fold(0, |dropped, pool| {
            dropped
                + pool.addresses.sweep(idle_ms, count, now_ms)
                + pool.keys.sweep(idle_ms, count, now_ms)
                + pool.users.sweep(idle_ms, count, now_ms)
        })
    }

    /// By kind: `(clients, allowed, over their rate, whitelisted, blacklisted)`.
    fn stats(&self) -> Vec<(usize, u64, u64, u64, u64)> {
        let mut limits = self.limits.lock();
        let counts = *limits.counts();
        let pool = limits.shared();
        let clients = [pool.addresses.len(), pool.keys.len(), pool.users.len()];
        let all = clients.into_iter().zip(counts);
        all.map(|(clients, counts)| {
            (clients, counts.allowed, counts.exceeded, counts.whitelisted, counts.blacklisted)
        })
        .collect()
    }

    /// Up to `count` refusals with a number above `after`, oldest first.
    fn history(&self, after: u64, count: usize) -> Vec<Refused> {
        let limits = self.limits.lock();
        let after = after.saturating_sub(self.first_number);
        let newer = limits.history().filter(|refusal| refusal.number > after).take(count);
        newer
            .map(|refusal| {
                let (kind, id) = (refusal.client.kind() as u8, refusal.client.text());
                let tokens = tokens(refusal.level_nanos);
                (
                    self.first_number + refusal.number,
                    refusal.at_ms,
                    kind,
                    id,
                    refusal.class,
                    refusal.cost,
                    tokens,
                )
            })
            .collect()
    }

    /// For whom the bucket of an address is kept: IPv4, or a /64. None: the text is no address.
    #[staticmethod]
    fn client_of(address: &str) -> Option<String> {
        read_client(address).map(client_text)
    }

    /// An address or network as it is kept. None: the text is neither.
    #[staticmethod]
    fn network_of(text: &str) -> Option<String> {
        Network::read(text).map(network_text)
    }
}

impl RateLimits {
    fn now(&self, given: Option<(u64, u64)>) -> Now {
        let (clock_ms, unix_ms) =
            given.unwrap_or_else(|| (self.began.elapsed().as_millis() as u64, unix_ms()));
        Now { clock_ms, unix_ms }
    }

    fn headers<'py>(
        &self,
        py: Python<'py>,
        left: Left,
        class_id: u8,
        reset_s: u64,
    ) -> PyResult<Bound<'py, PyList>> {
        let policy = self.policies.get(usize::from(class_id)).map_or("default", String::as_str);
        self.headers.of(py, left, policy, usize::from(class_id), reset_s)
    }
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// The Unix second at which a token is there: now, or else rounded up, so that who waits for it gets it.
fn reset_s(left: Left, unix_ms: u64) -> u64 {
    match left.wait_ms {
        Some(0) => unix_ms / 1_000,
        Some(wait_ms) => unix_ms.saturating_add(wait_ms).div_ceil(1_000),
        None => unix_ms / 1_000,
    }
}

fn rate_of((micros_per_second, burst): (u64, u32)) -> Rate {
    Rate { micros_per_second, burst }
}

fn read_kind(kind: u8) -> PyResult<Kind> {
    let found = Kind::ALL.get(usize::from(kind)).copied();
    found.ok_or_else(|| error(code::INVALID, "no such kind of client"))
}

fn named(kind: u8, id: &str) -> PyResult<Client> {
    Ok(match read_kind(kind)? {
        Kind::Address => Client::Address(
            read_client(id).ok_or_else(|| error(code::INVALID, format!("{id} is no address")))?,
        ),
        Kind::Key => Client::Key(id.into()),
        Kind::User => Client::User(id.into()),
    })
}

fn list(entries: &[Listed]) -> PyResult<List> {
    let (mut networks, mut keys, mut users) = (Vec::new(), Vec::new(), Vec::new());
    for (kind, id, until_ms) in entries {
        let until_ms = until_ms.unwrap_or(FOR_EVER);
        match read_kind(*kind)? {
            Kind::Address => {
                let no_address = || error(code::INVALID, format!("{id} is no address or network"));
                networks.push((Network::read(id).ok_or_else(no_address)?, until_ms));
            }
            Kind::Key => keys.push((id.as_str(), until_ms)),
            Kind::User => users.push((id.as_str(), until_ms)),
        }
    }
    Ok(List::new(&networks, &keys, &users))
}
