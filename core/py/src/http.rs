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
use pyo3::types::PyString;

use crate::http_loop::Outbox;
use crate::http_request::{HttpRequest, Scopes};

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
        *, head_timeout_ms, head_max_bytes, connections_max, ping_interval_ms, pong_timeout_ms
    ))]
    fn new(
        head_timeout_ms: u64,
        head_max_bytes: usize,
        connections_max: usize,
        ping_interval_ms: u64,
        pong_timeout_ms: u64,
    ) -> Self {
        let options = Options {
            head_timeout: Duration::from_millis(head_timeout_ms),
            head_max_bytes,
            connections_max,
            ping_every: Duration::from_millis(ping_interval_ms),
            pong_max: Duration::from_millis(pong_timeout_ms),
            ..Options::default()
        };
        Self { options, running: Mutex::new(None) }
    }

    /// Takes over the listening socket `fd`. `answer(scope, request)` is called on a thread of its own;
    /// `call_soon(callback)` must have `callback()` called on the event loop's.
    fn start(&self, fd: i32, answer: Py<PyAny>, call_soon: Py<PyAny>) -> PyResult<()> {
        // SAFETY: the caller gives the descriptor away, as the stub says; from here on this listener owns it.
        let listener = unsafe { TcpListener::from_raw_fd(fd) };
        let mut running = self.running.lock();
        if running.is_some() {
            return Err(PyRuntimeError::new_err("the listener is already running"));
        }
        let address = listener.local_addr().map_err(|why| PyOSError::new_err(why.to_string()))?;
        let server = Server::start(listener, self.options.clone());
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

    /// (connections, lines, accepted, refused_full, accept_failures, lines_overrun).
    fn stats(&self) -> (u64, u64, u64, u64, u64, u64) {
        let running = self.running.lock();
        let Some(running) = running.as_ref() else { return (0, 0, 0, 0, 0, 0) };
        let it = running.server.stats();
        (it.connections, it.lines, it.accepted, it.refused_full, it.accept_failures, it.lines_overrun)
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
