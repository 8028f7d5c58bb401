//! `konsul._core`: the native door. Bytes and tickets cross it, objects do not.
#![warn(missing_docs)]

mod access;
mod core;
mod door;
mod http;
mod http_line;
mod http_loop;
mod http_request;
mod http_tls;
mod limit;
mod limit_headers;
mod limit_rows;
mod limits;
mod options;
mod reads;
mod replica;
mod watches;

use pyo3::prelude::*;

/// Raised by one whenever `python/konsul/_core.pyi` changes meaning.
const ABI: u32 = 4;

#[pymodule(gil_used = true)]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("ABI", ABI)?;
    m.add("VERSION", env!("CARGO_PKG_VERSION"))?;
    m.add("CoreError", m.py().get_type::<door::CoreError>())?;
    m.add_class::<access::Access>()?;
    m.add_class::<access::Grant>()?;
    m.add_class::<access::Sight>()?;
    m.add_class::<core::Core>()?;
    m.add_class::<http::HttpListener>()?;
    m.add_class::<http_line::HttpLine>()?;
    m.add_class::<http_request::HttpRequest>()?;
    m.add_class::<http_tls::HttpTls>()?;
    m.add_class::<limit::Limiter>()?;
    m.add_class::<limits::RateLimits>()?;
    m.add_class::<reads::Shape>()?;
    m.add_class::<watches::Form>()?;
    m.add_class::<replica::Replica>()
}
