//! `Core`: one node behind the native door.
//!
//! No commit needs the GIL: callers only queue, and the answers wait in a list until the loop thread reaps
//! them.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use konsul_node::{Completion, Completions, Consistency, Node, Options, code};
use konsul_state::digest::digest;
use konsul_state::read::KeyQuery;
use parking_lot::{Mutex, RwLock};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::access::Sight;
use crate::door::{error, known, refused, store_failed};
use crate::options;
use crate::reads::{self, Ask, JsonPage, Shape, Where};
use crate::watches::{self, Form};

/// How long `stop` waits for readers on other threads, which hold the map open for microseconds.
const READERS_GONE: Duration = Duration::from_secs(1);

/// One node: its log, its tables, its leases.
#[pyclass(frozen, module = "konsul._core")]
pub(crate) struct Core {
    options: Options,
    completions: Arc<Completions>,
    node: RwLock<Option<Arc<Node>>>,
    /// One start at a time. Not the lock above: whoever asks meanwhile would wait for a replay, with the GIL.
    starting: Mutex<()>,
}

impl Core {
    fn node(&self) -> PyResult<Arc<Node>> {
        self.node.read().clone().ok_or_else(|| error(code::STOPPING, "the node is not running"))
    }

    /// For what has nothing to say once the node has stopped.
    fn when_running<T>(&self, ask: impl FnOnce(&Node) -> T) -> Option<T> {
        self.node.read().as_ref().map(|node| ask(node))
    }
}

type Packed<'py> = Bound<'py, PyBytes>;

#[pymethods]
impl Core {
    #[new]
    fn new(options: &[u8]) -> PyResult<Self> {
        let options = options::read(options).map_err(|why| error(code::INVALID, why))?;
        let completions = Completions::new().map_err(|why| error(code::START_FAILED, why.to_string()))?;
        Ok(Self {
            options,
            completions: Arc::new(completions),
            node: RwLock::new(None),
            starting: Mutex::new(()),
        })
    }

    fn start(&self, py: Python<'_>, schema: &[u8]) -> PyResult<()> {
        py.detach(|| {
            let _alone = self.starting.lock();
            if self.node.read().is_some() {
                return Err(error(code::START_FAILED, "the node is already running"));
            }
            let started = Node::start(self.options.clone(), self.completions.clone(), schema);
            let node = Arc::new(started.map_err(|why| error(code::START_FAILED, why))?);
            *self.node.write() = Some(node);
            Ok(())
        })
    }

    fn stop(&self, py: Python<'_>, grace_ms: u64) {
        py.detach(|| {
            // Readers go on until the node has stopped, as long as it takes to finish what is in flight.
            let Some(node) = self.node.read().clone() else { return };
            node.stop(grace_ms);
            self.node.write().take();
            let deadline = Instant::now() + READERS_GONE;
            while Arc::strong_count(&node) > 1 && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
    }

    fn status<'py>(&self, py: Python<'py>) -> PyResult<Packed<'py>> {
        Ok(PyBytes::new(py, self.node()?.status().as_bytes()))
    }

    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Packed<'py>> {
        Ok(PyBytes::new(py, self.node()?.metrics().as_bytes()))
    }

    #[pyo3(signature = (cases, timeout_ms, request_id=None))]
    fn commit(&self, cases: &[u8], timeout_ms: u64, request_id: Option<&[u8]>) -> PyResult<u64> {
        self.node()?.commit(cases, timeout_ms, known(request_id)?).map_err(refused)
    }

    #[pyo3(signature = (table, key, cells, at, timeout_ms, request_id=None))]
    fn put(
        &self,
        table: u16,
        key: &[u8],
        cells: &[u8],
        at: Option<u64>,
        timeout_ms: u64,
        request_id: Option<&[u8]>,
    ) -> PyResult<u64> {
        self.node()?.put(table, key, cells, at, timeout_ms, known(request_id)?).map_err(refused)
    }

    fn renew(&self, table: u16, key: &[u8], timeout_ms: u64) -> PyResult<u64> {
        self.node()?.renew(table, key, timeout_ms).map_err(refused)
    }

    fn barrier(&self, consistency: &str, timeout_ms: u64) -> PyResult<u64> {
        let consistency = match consistency {
            "default" => Consistency::Default,
            "linearizable" => Consistency::Linearizable,
            other => return Err(error(code::INVALID, format!("consistency {other:?} is not known"))),
        };
        self.node()?.barrier(consistency, timeout_ms).map_err(refused)
    }

    fn snapshot(&self, timeout_ms: u64) -> PyResult<u64> {
        self.node()?.snapshot(timeout_ms).map_err(refused)
    }

    fn wait_index(&self, index: u64, timeout_ms: u64) -> PyResult<u64> {
        self.node()?.wait_index(index, timeout_ms).map_err(refused)
    }

    fn is_current(&self) -> bool {
        self.node.read().as_ref().is_some_and(|node| node.is_current())
    }

    fn contact(&self) -> PyResult<(bool, u64, u64)> {
        Ok(self.node()?.contact())
    }

    fn bootstrap(&self, timeout_ms: u64) -> PyResult<u64> {
        self.node()?.bootstrap(timeout_ms).map_err(refused)
    }

    fn adopt(&self, cluster_id: &str, timeout_ms: u64) -> PyResult<u64> {
        self.node()?.adopt(cluster_id, timeout_ms).map_err(refused)
    }

    fn change_members(&self, op: &[u8], timeout_ms: u64) -> PyResult<u64> {
        self.node()?.change_members(op, timeout_ms).map_err(refused)
    }

    fn transfer(&self, raft_id: u64, timeout_ms: u64) -> PyResult<u64> {
        self.node()?.transfer(raft_id, timeout_ms).map_err(refused)
    }

    fn reload_tls(&self) -> PyResult<()> {
        self.node()?.reload_tls().map_err(refused)
    }

    fn call(&self, raft_id: u64, address: &str, payload: &[u8], timeout_ms: u64) -> PyResult<u64> {
        self.node()?.call(raft_id, address, payload, timeout_ms).map_err(refused)
    }

    fn calls<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Bound<'py, PyList>> {
        let calls = self.node()?.calls(limit);
        PyList::new(
            py,
            calls
                .into_iter()
                .map(|(id, raft_id, address, payload)| (id, raft_id, address, PyBytes::new(py, &payload))),
        )
    }

    fn answer(&self, call_id: u64, status: u16, payload: &[u8]) -> PyResult<()> {
        self.node()?.answer(call_id, status, payload);
        Ok(())
    }

    #[pyo3(signature = (form, spec, since=None))]
    fn watch(&self, form: Option<&Form>, spec: &[u8], since: Option<u64>) -> PyResult<u64> {
        let form = form.map(|form| form.inner.clone());
        self.node()?.watch(watches::spec(spec)?, form, since).map_err(refused)
    }

    fn unwatch(&self, watch: u64) {
        self.when_running(|node| node.unwatch(watch));
    }

    fn pause_watch(&self, watch: u64) {
        self.when_running(|node| node.pause_watch(watch));
    }

    fn resume_watch(&self, watch: u64) {
        self.when_running(|node| node.resume_watch(watch));
    }

    fn watch_position(&self, watch: u64) -> Option<u64> {
        self.when_running(|node| node.watch_position(watch)).flatten()
    }

    fn watched<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Bound<'py, PyList>> {
        let seen = self.when_running(|node| node.watched(limit)).unwrap_or_default();
        watches::list(py, &seen)
    }

    fn get<'py>(&self, py: Python<'py>, table: u16, key: &[u8]) -> PyResult<Option<Packed<'py>>> {
        reads::get(py, &*self.node()?, table, key)
    }

    fn get_json<'py>(&self, py: Python<'py>, shape: &Shape, key: &[u8]) -> PyResult<Option<Packed<'py>>> {
        let json = reads::get_json(&*self.node()?, shape, key)?;
        Ok(json.map(|json| PyBytes::new(py, &json)))
    }

    #[pyo3(signature = (table, prefix, r#where, after, limit, sight=None))]
    #[allow(clippy::too_many_arguments)]
    fn scan<'py>(
        &self,
        py: Python<'py>,
        table: u16,
        prefix: &[u8],
        r#where: Where,
        after: Option<&[u8]>,
        limit: usize,
        sight: Option<&Sight>,
    ) -> PyResult<(Bound<'py, PyList>, Option<Packed<'py>>)> {
        let (node, eyes) = (self.node()?, sight.and_then(Sight::eyes));
        let filters = reads::filters(&r#where);
        let ask = Ask { table, prefix, filters: &filters, after, limit };
        let (rows, next) = py.detach(|| reads::scan(&node, &ask, eyes))?;
        let rows = rows.iter().map(|(key, row)| (PyBytes::new(py, key), PyBytes::new(py, row)));
        Ok((PyList::new(py, rows)?, next.map(|key| PyBytes::new(py, &key))))
    }

    #[pyo3(signature = (shape, prefix, r#where, after, limit, sight=None))]
    #[allow(clippy::too_many_arguments)]
    fn scan_json<'py>(
        &self,
        py: Python<'py>,
        shape: &Shape,
        prefix: &[u8],
        r#where: Where,
        after: Option<&[u8]>,
        limit: usize,
        sight: Option<&Sight>,
    ) -> PyResult<JsonPage<'py>> {
        let (node, eyes) = (self.node()?, sight.and_then(Sight::eyes));
        let filters = reads::filters(&r#where);
        let ask = Ask { table: shape.inner.table(), prefix, filters: &filters, after, limit };
        let listed = py.detach(|| reads::scan_json(&node, shape, &ask, eyes))?;
        Ok(reads::page(py, listed))
    }

    #[pyo3(signature = (table, prefix, separator, after, limit, sight=None, inside=false))]
    #[allow(clippy::too_many_arguments)]
    fn keys_json<'py>(
        &self,
        py: Python<'py>,
        table: u16,
        prefix: &[u8],
        separator: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        sight: Option<&Sight>,
        inside: bool,
    ) -> PyResult<JsonPage<'py>> {
        let (node, eyes) = (self.node()?, sight.and_then(Sight::eyes));
        let query = KeyQuery { table, prefix, separator, after, inside, limit };
        let listed = py.detach(|| reads::keys_json(&node, &query, eyes))?;
        Ok(reads::page(py, listed))
    }

    fn count(&self, table: u16) -> PyResult<u64> {
        let node = self.node()?;
        node.schema().map_err(refused)?.table(table).map_err(refused)?;
        Ok(node.tables().count(table))
    }

    fn lease_ms(&self, table: u16, key: &[u8]) -> PyResult<Option<u64>> {
        Ok(self.node()?.lease_ms(table, key))
    }

    fn digest<'py>(&self, py: Python<'py>) -> PyResult<Packed<'py>> {
        let node = self.node()?;
        let digest = py.detach(|| {
            let reader = node.read().map_err(refused)?;
            digest(&reader).map_err(|failure| store_failed(&failure))
        })?;
        Ok(PyBytes::new(py, &digest))
    }

    fn fileno(&self) -> RawFd {
        self.completions.fd()
    }

    fn reap<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Bound<'py, PyList>> {
        let done = self.completions.take(limit);
        PyList::new(
            py,
            done.into_iter().map(|Completion { ticket, status, index, number, text }| {
                (ticket, status, index, number, PyBytes::new(py, &text))
            }),
        )
    }
}
