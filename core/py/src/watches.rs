//! Watches as Python sees them: forms, specifications, and what was seen.

use konsul_node::code;
use pyo3::prelude::*;

use crate::door::error;

/// A JSON field: its name, its source, its flags.
type Field = (String, i32, u32);

/// How a change of a table's row is written as JSON, compiled once.
#[pyclass(frozen, module = "konsul._core")]
pub(crate) struct Form {}

#[pymethods]
impl Form {
    #[new]
    #[pyo3(signature = (table, kinds, row, old=Vec::new(), wrap=""))]
    fn new(
        table: u16,
        kinds: (String, String, String, String, String),
        row: Vec<Field>,
        old: Vec<Field>,
        wrap: &str,
    ) -> PyResult<Self> {
        let _ = (table, kinds, row, old, wrap);
        Ok(Self {})
    }
}

pub(crate) fn not_yet() -> PyErr {
    error(code::INTERNAL, "watches are being built")
}
