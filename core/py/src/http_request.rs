//! `HttpRequest`: one request, as the front sees it. Its ASGI scope is made by `Scopes`.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HOST;
use http::{Method, Version};
use konsul_http::{Answer, Exchange, Head, Piece, Request};
use parking_lot::Mutex;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::http::Addresses;
use crate::http_line::HttpLine;
use crate::http_loop::{Outbox, User};
use crate::http_tls::described;

/// From here on bytes are lent to the connection and not copied.
const LEND_BYTES: usize = 16 << 10;

/// One request: its body, and where its answer goes. Made by the listener only.
#[pyclass(frozen, module = "konsul._core")]
pub(crate) struct HttpRequest {
    exchange: Arc<Exchange>,
    body: Mutex<Option<Bytes>>,
    outbox: Arc<Outbox>,
}

impl HttpRequest {
    pub(crate) fn new(exchange: Arc<Exchange>, body: Option<Bytes>, outbox: Arc<Outbox>) -> Self {
        Self { exchange, body: Mutex::new(body), outbox }
    }
}

#[pymethods]
impl HttpRequest {
    /// The whole body, once, if it came with the head; else None.
    fn take_body<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.body.lock().take().map(|body| PyBytes::new(py, &body))
    }

    /// Calls `callback(bytes | None, more)` on the answering thread with the body's next piece; None: the
    /// client is gone.
    fn read(&self, callback: Py<PyAny>) {
        self.exchange.read(Box::new(move |piece| {
            Python::attach(|py| {
                if let Err(error) = tell(py, callback.bind(py), &piece) {
                    error.write_unraisable(py, Some(callback.bind(py)));
                }
            });
        }));
    }

    /// As `read`, on the event loop's thread.
    fn wait(&self, callback: Py<PyAny>) {
        let outbox = self.outbox.clone();
        self.exchange.read(Box::new(move |piece| outbox.add_call(callback, piece)));
    }

    /// Nobody waits for the body any more.
    fn give_up(&self) {
        self.exchange.forget_reader();
    }

    /// The whole answer. False if the client is gone or there was one already. ValueError: HTTP forbids a
    /// header.
    fn answer(&self, status: u16, headers: &Bound<'_, PyList>, body: &Bound<'_, PyBytes>) -> PyResult<bool> {
        Ok(self.exchange.answer(Answer::whole(head(status, headers)?, lent(body))))
    }

    /// Begins an answer whose body follows; as `answer`.
    fn begin(&self, status: u16, headers: &Bound<'_, PyList>) -> PyResult<bool> {
        Ok(self.exchange.begin(head(status, headers)?))
    }

    /// Adds to the body. True if there is room for more; else `callback` is called as with `wait` when there
    /// is.
    fn push(&self, body: &Bound<'_, PyBytes>, callback: Py<PyAny>) -> bool {
        let outbox = self.outbox.clone();
        self.exchange.push(lent(body), || Box::new(move |piece| outbox.add_call(callback, piece)))
    }

    /// The body is complete.
    fn end(&self) {
        self.exchange.end();
    }

    /// Whoever answers is through: without an answer the client gets 500, in the middle of one it is cut.
    fn finish(&self) {
        self.exchange.finish();
    }

    /// Makes the connection an event stream. `user` has `drained()` and `closed(reason, sent_bytes)`.
    fn sse(&self, status: u16, headers: &Bound<'_, PyList>, user: Py<PyAny>) -> PyResult<HttpLine> {
        let head = head(status, headers)?;
        let line = self.exchange.open_stream(head, Arc::new(User::new(user, self.outbox.clone())));
        line.map(|line| HttpLine::new(line, self.outbox.clone()))
            .map_err(|why| PyRuntimeError::new_err(why.text()))
    }

    /// Upgrades to a WebSocket. `user` has `message(str | bytes)` as well.
    fn websocket(
        &self,
        user: Py<PyAny>,
        subprotocol: Option<&str>,
        headers: &Bound<'_, PyList>,
        max_message_bytes: usize,
    ) -> PyResult<HttpLine> {
        let head = head(200, headers)?;
        let user = Arc::new(User::new(user, self.outbox.clone()));
        let line = self.exchange.open_websocket(subprotocol, &head, max_message_bytes, user);
        line.map(|line| HttpLine::new(line, self.outbox.clone()))
            .map_err(|why| PyRuntimeError::new_err(why.text()))
    }
}

/// Calls with a piece as Python sees it.
pub(crate) fn tell(py: Python<'_>, callback: &Bound<'_, PyAny>, piece: &Piece) -> PyResult<()> {
    match piece {
        Piece::Data { bytes, more } => callback.call1((PyBytes::new(py, bytes), *more))?,
        Piece::Gone => callback.call1((py.None(), false))?,
    };
    Ok(())
}

fn head(status: u16, headers: &Bound<'_, PyList>) -> PyResult<Head> {
    let mut head = Head::new(status, headers.len()).map_err(PyValueError::new_err)?;
    for header in headers.iter() {
        let pair = header.cast::<PyTuple>()?;
        let (name, value) = (pair.get_borrowed_item(0)?, pair.get_borrowed_item(1)?);
        let (name, value) = (name.cast::<PyBytes>()?, value.cast::<PyBytes>()?);
        head.add(name.as_bytes(), value.as_bytes()).map_err(PyValueError::new_err)?;
    }
    Ok(head)
}

fn lent(body: &Bound<'_, PyBytes>) -> Bytes {
    if body.as_bytes().len() < LEND_BYTES {
        return Bytes::copy_from_slice(body.as_bytes());
    }
    Bytes::from_owner(PyBackedBytes::from(body.clone()))
}

/// Makes ASGI scopes; what all have in common is made once.
pub(crate) struct Scopes {
    asgi: Py<PyDict>,
    server: Py<PyTuple>,
    extensions: Py<PyDict>,
    addresses: Addresses,
}

impl Scopes {
    pub(crate) fn new(py: Python<'_>, address: SocketAddr) -> PyResult<Self> {
        let asgi = PyDict::new(py);
        asgi.set_item("version", "3.0")?;
        asgi.set_item("spec_version", "2.4")?;
        let extensions = PyDict::new(py);
        extensions.set_item("websocket.http.response", PyDict::new(py))?;
        let server = (address.ip().to_canonical().to_string(), address.port()).into_pyobject(py)?;
        Ok(Self {
            asgi: asgi.unbind(),
            server: server.unbind(),
            extensions: extensions.unbind(),
            addresses: Addresses::new(),
        })
    }

    pub(crate) fn scope<'py>(&mut self, py: Python<'py>, request: &Request) -> PyResult<Bound<'py, PyDict>> {
        let head = &request.head;
        let scope = PyDict::new(py);
        let tls = described(py, request)?;
        let (kind, scheme) = if request.is_websocket {
            scope.set_item(intern!(py, "subprotocols"), subprotocols(py, request)?)?;
            scope.set_item(intern!(py, "extensions"), self.extensions.bind(py))?;
            (intern!(py, "websocket"), if tls.is_some() { intern!(py, "wss") } else { intern!(py, "ws") })
        } else {
            (intern!(py, "http"), if tls.is_some() { intern!(py, "https") } else { intern!(py, "http") })
        };
        if let Some(tls) = tls {
            scope.set_item(intern!(py, "tls"), tls)?;
        }
        let version = match head.version {
            Version::HTTP_10 => intern!(py, "1.0"),
            Version::HTTP_2 => intern!(py, "2"),
            _ => intern!(py, "1.1"),
        };
        scope.set_item(intern!(py, "type"), kind)?;
        scope.set_item(intern!(py, "asgi"), self.asgi.bind(py))?;
        scope.set_item(intern!(py, "http_version"), version)?;
        scope.set_item(intern!(py, "method"), method(py, &head.method))?;
        scope.set_item(intern!(py, "scheme"), scheme)?;
        scope.set_item(intern!(py, "raw_path"), PyBytes::new(py, head.uri.path().as_bytes()))?;
        let query = head.uri.query().unwrap_or_default();
        scope.set_item(intern!(py, "query_string"), PyBytes::new(py, query.as_bytes()))?;
        scope.set_item(intern!(py, "headers"), headers(py, request)?)?;
        let client = (self.addresses.text(py, request.client.ip()), request.client.port());
        scope.set_item(intern!(py, "client"), client)?;
        scope.set_item(intern!(py, "server"), self.server.bind(py))?;
        Ok(scope)
    }
}

fn method<'py>(py: Python<'py>, method: &Method) -> Bound<'py, PyString> {
    match *method {
        Method::GET => intern!(py, "GET").clone(),
        Method::PUT => intern!(py, "PUT").clone(),
        Method::POST => intern!(py, "POST").clone(),
        Method::DELETE => intern!(py, "DELETE").clone(),
        Method::HEAD => intern!(py, "HEAD").clone(),
        _ => PyString::new(py, method.as_str()),
    }
}

fn headers<'py>(py: Python<'py>, request: &Request) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    // HTTP/2 has its host in the target.
    if let (Version::HTTP_2, Some(authority)) = (request.head.version, request.head.uri.authority())
        && !request.head.headers.contains_key(HOST)
    {
        list.append((PyBytes::new(py, b"host"), PyBytes::new(py, authority.as_str().as_bytes())))?;
    }
    for (name, value) in &request.head.headers {
        list.append((PyBytes::new(py, name.as_str().as_bytes()), PyBytes::new(py, value.as_bytes())))?;
    }
    Ok(list)
}

/// The names a WebSocket's client offers, of all its headers.
fn subprotocols<'py>(py: Python<'py>, request: &Request) -> PyResult<Bound<'py, PyList>> {
    let names = request.head.headers.get_all("sec-websocket-protocol").iter();
    let names = names.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let names: Vec<&str> = names.map(str::trim).filter(|name| !name.is_empty()).collect();
    PyList::new(py, names)
}
