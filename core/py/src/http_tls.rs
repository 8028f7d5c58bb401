//! `HttpTls`: a set of certificate files for the listener; and what a connection's TLS came to, for Python.

use konsul_http::{ClientAuth, Request, Tls, TlsInfo, TlsParts, cipher_names};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

/// A certificate with its key, whose clients' certificates are asked for, and what may be spoken: checked.
#[pyclass(frozen, module = "konsul._core")]
pub(crate) struct HttpTls {
    pub(crate) tls: Tls,
}

#[pymethods]
impl HttpTls {
    /// All files in PEM form. `client_auth`: off, optional or required. ValueError: what is wrong, in words.
    #[new]
    #[pyo3(signature = (*, cert, key, client_ca, client_auth, only_13, ciphers))]
    fn new(
        cert: &[u8],
        key: &[u8],
        client_ca: &[u8],
        client_auth: &str,
        only_13: bool,
        ciphers: Vec<String>,
    ) -> PyResult<Self> {
        let client_auth = match client_auth {
            "off" => ClientAuth::Off,
            "optional" => ClientAuth::Optional,
            "required" => ClientAuth::Required,
            other => return Err(PyValueError::new_err(format!("client_auth is {other:?}"))),
        };
        let parts = TlsParts { cert, key, client_ca, client_auth, only_13, ciphers: &ciphers };
        Tls::new(&parts).map(|tls| Self { tls }).map_err(PyValueError::new_err)
    }

    /// The cipher suites there are, by their IANA names.
    #[staticmethod]
    fn cipher_names() -> Vec<String> {
        cipher_names()
    }
}

/// `scope["tls"]`, the same object for all requests of a connection; None in the clear.
pub(crate) fn described<'py>(py: Python<'py>, request: &Request) -> PyResult<Option<Bound<'py, PyDict>>> {
    let Some(tls) = &request.tls else { return Ok(None) };
    if let Some(made) = tls.made.get().and_then(|made| made.downcast_ref::<Py<PyDict>>()) {
        return Ok(Some(made.bind(py).clone()));
    }
    let dict = describe(py, tls)?;
    // All requests come to one thread: nobody else has made one meanwhile.
    let _ = tls.made.set(Box::new(dict.clone().unbind()));
    Ok(Some(dict))
}

fn describe<'py>(py: Python<'py>, tls: &TlsInfo) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item(intern!(py, "version"), tls.version)?;
    dict.set_item(intern!(py, "cipher"), &tls.cipher)?;
    dict.set_item(intern!(py, "alpn"), tls.alpn)?;
    let shown = tls.client_cert.as_ref().map(|der| PyBytes::new(py, der));
    dict.set_item(intern!(py, "client_cert"), shown)?;
    Ok(dict)
}
