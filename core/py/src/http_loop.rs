//! What has to happen on the event loop's thread, brought there in batches with one wake each.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use konsul_http::{Framing, LineEvent, LineUser, Message, Piece};
use parking_lot::Mutex;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::http_request::tell;

/// The largest message that is framed once for all lines, and stays in memory until the next: a change of the
/// largest value there may be by default, with the one before it. Anything larger is copied for each line.
const SHARED_MAX_BYTES: usize = 2 << 20;

enum Due {
    Line(Py<PyAny>, LineEvent),
    Call(Py<PyAny>, Piece),
}

#[derive(Default)]
struct Dues {
    items: Vec<Due>,
    /// The loop will call, and takes whatever is there then.
    is_asked: bool,
}

/// The last message that was sent, framed: one change goes to many lines, and is copied once.
#[derive(Default)]
struct Shared {
    /// Held, so that no other object has its address.
    data: Option<Py<PyBytes>>,
    framed: [Option<Bytes>; 3],
}

/// Calls for the event loop.
pub(crate) struct Outbox {
    dues: Mutex<Dues>,
    shared: Mutex<Shared>,
    call_soon: Py<PyAny>,
}

impl Outbox {
    pub(crate) fn new(call_soon: Py<PyAny>) -> Self {
        Self { dues: Mutex::default(), shared: Mutex::default(), call_soon }
    }

    /// Adds a call; the answering thread's next `flush` brings it to the loop.
    pub(crate) fn add_call(&self, callback: Py<PyAny>, piece: Piece) {
        self.dues.lock().items.push(Due::Call(callback, piece));
    }

    /// Asks the loop to call, if there is something and it has not been asked.
    pub(crate) fn flush(self: &Arc<Self>, py: Python<'_>) {
        let mut dues = self.dues.lock();
        if dues.items.is_empty() || dues.is_asked {
            return;
        }
        dues.is_asked = true;
        drop(dues);
        let asked = Bound::new(py, Delivery { outbox: self.clone() })
            .and_then(|delivery| self.call_soon.call1(py, (delivery,)));
        if asked.is_err() {
            // The loop is closed: nobody is left to be told. What is held goes when the listener does.
            self.dues.lock().is_asked = false;
        }
    }

    fn deliver(&self, py: Python<'_>) {
        let mut dues = self.dues.lock();
        dues.is_asked = false;
        let items = mem::take(&mut dues.items);
        drop(dues);
        for due in items {
            let (whom, told) = match due {
                Due::Call(callback, piece) => {
                    let told = tell(py, callback.bind(py), &piece);
                    (callback, told)
                }
                Due::Line(user, event) => {
                    let told = tell_user(py, user.bind(py), event);
                    (user, told)
                }
            };
            if let Err(error) = told {
                error.write_unraisable(py, Some(whom.bind(py)));
            }
        }
    }

    /// `data` as it goes on the wire.
    pub(crate) fn framed(&self, data: &Bound<'_, PyBytes>, framing: Framing) -> Bytes {
        if data.as_bytes().len() > SHARED_MAX_BYTES {
            return framing.frame(data.as_bytes());
        }
        let mut shared = self.shared.lock();
        if !shared.data.as_ref().is_some_and(|known| known.is(data)) {
            let before =
                mem::replace(&mut *shared, Shared { data: Some(data.clone().unbind()), ..Shared::default() });
            drop(shared);
            // Outside the lock: freeing an object may run anything.
            drop(before);
            shared = self.shared.lock();
            if !shared.data.as_ref().is_some_and(|known| known.is(data)) {
                return framing.frame(data.as_bytes());
            }
        }
        shared.framed[framing as usize].get_or_insert_with(|| framing.frame(data.as_bytes())).clone()
    }
}

fn tell_user(py: Python<'_>, user: &Bound<'_, PyAny>, event: LineEvent) -> PyResult<()> {
    match event {
        LineEvent::Message(Message::Text(text), credit) => {
            user.call_method1(intern!(py, "message"), (PyString::new(py, &text),))?;
            drop(credit);
        }
        LineEvent::Message(Message::Binary(bytes), credit) => {
            user.call_method1(intern!(py, "message"), (PyBytes::new(py, &bytes),))?;
            drop(credit);
        }
        LineEvent::Drained => {
            user.call_method0(intern!(py, "drained"))?;
        }
        LineEvent::Closed(reason, sent) => {
            user.call_method1(intern!(py, "closed"), (reason, sent))?;
        }
    }
    Ok(())
}

/// What the loop calls.
#[pyclass(frozen)]
struct Delivery {
    outbox: Arc<Outbox>,
}

#[pymethods]
impl Delivery {
    fn __call__(&self, py: Python<'_>) {
        self.outbox.deliver(py);
    }
}

/// Whoever speaks on a line.
pub(crate) struct User {
    user: Py<PyAny>,
    outbox: Arc<Outbox>,
}

impl User {
    pub(crate) fn new(user: Py<PyAny>, outbox: Arc<Outbox>) -> Self {
        Self { user, outbox }
    }
}

impl LineUser for User {
    fn told(&self, event: LineEvent) {
        Python::attach(|py| {
            let user = self.user.clone_ref(py);
            self.outbox.dues.lock().items.push(Due::Line(user, event));
        });
    }
}
