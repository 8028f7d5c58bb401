//! `HttpLine`: an open event stream or WebSocket, as whoever speaks on it sees it.

use std::sync::Arc;

use konsul_http::Line;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::http_loop::Outbox;

/// One open line. Made by `HttpRequest` only.
#[pyclass(frozen, module = "konsul._core")]
pub(crate) struct HttpLine {
    line: Arc<Line>,
    outbox: Arc<Outbox>,
}

impl HttpLine {
    pub(crate) fn new(line: Arc<Line>, outbox: Arc<Outbox>) -> Self {
        Self { line, outbox }
    }
}

#[pymethods]
impl HttpLine {
    /// Queues bytes of an event stream, or one text message. False: send no more until `drained`.
    #[pyo3(signature = (data, is_binary=false))]
    fn send(&self, data: &Bound<'_, PyBytes>, is_binary: bool) -> bool {
        if is_binary {
            return self.line.send(self.line.framing().binary(data.as_bytes()));
        }
        self.line.send(self.outbox.framed(data, self.line.framing()))
    }

    /// Ends it; what waits is still written for a few seconds, unless it is over the high-water mark.
    #[pyo3(signature = (code=1000, reason=""))]
    fn close(&self, code: u16, reason: &str) {
        self.line.close(code, reason);
    }

    /// What the client has not been given yet.
    #[getter]
    fn queued_bytes(&self) -> usize {
        self.line.queued_bytes()
    }
}
