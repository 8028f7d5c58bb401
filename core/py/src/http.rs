//! `HttpListener`: core/http's listener, its answering thread, and what happens on the event loop.

use std::net::{IpAddr, TcpListener};
use std::os::fd::FromRawFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use konsul_http::{Event, Options, Server};
use parking_lot::Mutex;
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::http_loop::Outbox;
use crate::http_request::{HttpRequest, Scopes};
use crate::http_tls::HttpTls;

struct Running {
    server: Arc<Server>,
    answering: JoinHandle<()>,
}

/// Listens on one socket and has requests answered by one thread.
#[pyclass(frozen, module = "konsul._core")]
pub(crate) struct HttpListener {
    options: Options,
    running: Mutex<Option<Running>>,
}

#[pymethods]
impl HttpListener {
    #[new]
    #[pyo3(signature = (
        *, head_timeout_ms, head_max_bytes, connections_max, ping_interval_ms, pong_timeout_ms,
        handshake_timeout_ms, handshakes_max
    ))]
    fn new(
        head_timeout_ms: u64,
        head_max_bytes: usize,
        connections_max: usize,
        ping_interval_ms: u64,
        pong_timeout_ms: u64,
        handshake_timeout_ms: u64,
        handshakes_max: usize,
    ) -> Self {
        let options = Options {
            head_timeout: Duration::from_millis(head_timeout_ms),
            head_max_bytes,
            connections_max,
            ping_every: Duration::from_millis(ping_interval_ms),
            pong_max: Duration::from_millis(pong_timeout_ms),
            handshake_timeout: Duration::from_millis(handshake_timeout_ms),
            handshakes_max,
            streams_max: connections_max,
            ..Options::default()
        };
        Self { options, running: Mutex::new(None) }
    }

    /// Takes over the listening socket `fd`. `answer(scope, request)` is called on a thread of its own;
    /// `call_soon(callback)` must have `callback()` called on the event loop's. With `tls` it is HTTPS.
    #[pyo3(signature = (fd, answer, call_soon, tls=None))]
    fn start(
        &self,
        fd: i32,
        answer: Py<PyAny>,
        call_soon: Py<PyAny>,
        tls: Option<PyRef<'_, HttpTls>>,
    ) -> PyResult<()> {
        // SAFETY: the caller gives the descriptor away, as the stub says; from here on this listener owns it.
        let listener = unsafe { TcpListener::from_raw_fd(fd) };
        let mut running = self.running.lock();
        if running.is_some() {
            return Err(PyRuntimeError::new_err("the listener is already running"));
        }
        let address = listener.local_addr().map_err(|why| PyOSError::new_err(why.to_string()))?;
        let server = Server::start(listener, self.options.clone(), tls.map(|it| it.tls.clone()));
        let server = Arc::new(server.map_err(|why| PyOSError::new_err(why.to_string()))?);
        let outbox = Arc::new(Outbox::new(call_soon));
        let state = server.clone();
        let answering = std::thread::Builder::new()
            .name("http-front".to_owned())
            .spawn(move || Python::attach(|py| answer_all(py, &state, &answer, &outbox, address)))
            .map_err(|why| PyOSError::new_err(why.to_string()))?;
        *running = Some(Running { server, answering });
        Ok(())
    }

    /// Accepts no more and ends what is open, after at most `grace_ms`. Lets go of the GIL meanwhile.
    fn stop(&self, py: Python<'_>, grace_ms: u64) {
        let Some(running) = self.running.lock().take() else { return };
        py.detach(|| {
            running.server.stop(Duration::from_millis(grace_ms));
            // It ends when nothing is left for it; with panic = abort there is no other end.
            let _ = running.answering.join();
        });
    }

    /// From now on handshakes use `tls`; what is connected stays.
    fn set_tls(&self, tls: PyRef<'_, HttpTls>) {
        if let Some(running) = self.running.lock().as_ref() {
            running.server.set_tls(tls.tls.clone());
        }
    }

    /// What is open, and what was counted since the start, by name.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counted = PyDict::new(py);
        let running = self.running.lock();
        let Some(it) = running.as_ref().map(|running| running.server.stats()) else { return Ok(counted) };
        for (name, value) in [
            ("connections", it.connections),
            ("lines", it.lines),
            ("accepted", it.accepted),
            ("refused_full", it.refused_full),
            ("accept_failures", it.accept_failures),
            ("lines_overrun", it.lines_overrun),
            ("tls_handshaking", it.handshaking),
            ("tls_handshakes", it.handshakes),
            ("tls_handshake_failures", it.handshake_failures),
            ("tls_handshakes_cut", it.handshakes_cut),
            ("not_tls", it.not_tls),
            ("streams", it.streams),
            ("streams_refused", it.streams_refused),
            ("stream_floods", it.floods),
        ] {
            counted.set_item(name, value)?;
        }
        Ok(counted)
    }
}

/// The answering thread: takes the GIL once for everything that waits.
fn answer_all(
    py: Python<'_>,
    server: &Server,
    answer: &Py<PyAny>,
    outbox: &Arc<Outbox>,
    address: std::net::SocketAddr,
) {
    let mut scopes = match Scopes::new(py, address) {
        Ok(scopes) => scopes,
        Err(error) => return error.write_unraisable(py, None),
    };
    let mut taken = Vec::new();
    // One attachment for the thread's life: making a thread state for each batch would cost more than the
    // batch.
    while py.detach(|| server.events().take(&mut taken)) {
        let batch = server.batch();
        for event in taken.drain(..) {
            match event {
                Event::Request(request) => {
                    if let Err(error) = ask(py, *request, answer, outbox, &mut scopes) {
                        error.write_unraisable(py, Some(answer.bind(py)));
                    }
                }
                Event::Piece(waiter, piece) => waiter(piece),
                Event::Line(user, event) => user.told(event),
            }
        }
        outbox.flush(py);
        py.detach(|| drop(batch));
    }
    outbox.flush(py);
}

fn ask(
    py: Python<'_>,
    request: konsul_http::Request,
    answer: &Py<PyAny>,
    outbox: &Arc<Outbox>,
    scopes: &mut Scopes,
) -> PyResult<()> {
    let scope = scopes.scope(py, &request)?;
    let asked = HttpRequest::new(request.exchange, request.body, outbox.clone());
    answer.call1(py, (scope, Bound::new(py, asked)?))?;
    Ok(())
}

/// A client's address as text; most requests come from the address of the one before.
pub(crate) struct Addresses {
    last: Option<(IpAddr, Py<PyString>)>,
}

impl Addresses {
    pub(crate) fn new() -> Self {
        Self { last: None }
    }

    pub(crate) fn text<'py>(&mut self, py: Python<'py>, address: IpAddr) -> Bound<'py, PyString> {
        if let Some((known, text)) = &self.last
            && *known == address
        {
            return text.bind(py).clone();
        }
        let text = PyString::new(py, &address.to_canonical().to_string());
        self.last = Some((address, text.clone().unbind()));
        text
    }
}
