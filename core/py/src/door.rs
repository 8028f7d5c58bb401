//! The one doorway of errors: every refusal and failure leaves as `CoreError(code, message)`.

use konsul_node::code;
use konsul_state::Refusal;
use konsul_state::entry::{REQUEST_ID_BYTES, RequestId};
use konsul_state::read::ReadError;
use konsul_state::store::StoreError;
use pyo3::exceptions::PyException;
use pyo3::{PyErr, PyResult, create_exception};

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

/// The id of a request, of the one length there is.
pub(crate) fn known(request_id: Option<&[u8]>) -> PyResult<Option<RequestId>> {
    let sized = |id: &[u8]| {
        RequestId::try_from(id)
            .map_err(|_| error(code::INVALID, format!("a request id has {REQUEST_ID_BYTES} bytes")))
    };
    request_id.map(sized).transpose()
}
