//! The one doorway of errors: every refusal and failure leaves as `CoreError(code, message)`.

use konsul_node::code;
use konsul_state::Refusal;
use konsul_state::read::ReadError;
use konsul_state::store::StoreError;
use pyo3::exceptions::PyException;
use pyo3::{PyErr, create_exception};

create_exception!(
    konsul._core,
    CoreError,
    PyException,
    "Raised by calls that fail at once. `args` is `(code, message)`."
);

/// A failure with its code.
pub(crate) fn error(code: u16, message: impl Into<String>) -> PyErr {
    CoreError::new_err((code, message.into()))
}

pub(crate) fn refused(refusal: Refusal) -> PyErr {
    error(refusal.code, refusal.message)
}

pub(crate) fn store_failed(failure: &StoreError) -> PyErr {
    error(code::INTERNAL, failure.to_string())
}

pub(crate) fn read_failed(failure: ReadError) -> PyErr {
    match failure {
        ReadError::Refused(refusal) => refused(refusal),
        other => error(code::INTERNAL, other.to_string()),
    }
}
