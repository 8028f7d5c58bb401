//! Reads of the applied state, for `Core` and its callers' threads.

use konsul_node::Node;
use konsul_state::json;
use konsul_state::read::{self, KeyQuery, Query, Sees};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::access::Eyes;
use crate::door::{read_failed, refused, store_failed};

/// Index values that rows must have, by column position.
pub(crate) type Where = Vec<(u8, Vec<u8>)>;

/// One page of `(key, packed row)` and the key to continue after.
pub(crate) type Rows = (Vec<(Vec<u8>, Vec<u8>)>, Option<Vec<u8>>);

/// One page of JSON as Python takes it.
pub(crate) type JsonPage<'py> = (Bound<'py, PyBytes>, usize, Option<Bound<'py, PyBytes>>);

/// How a table's rows are written as JSON, compiled once.
#[pyclass(frozen, module = "konsul._core")]
pub(crate) struct Shape {
    pub inner: json::Shape,
}

#[pymethods]
impl Shape {
    #[new]
    fn new(table: u16, fields: Vec<(String, i32, u32)>) -> PyResult<Self> {
        let fields: Vec<(&str, i32, u32)> =
            fields.iter().map(|(name, source, flags)| (name.as_str(), *source, *flags)).collect();
        Ok(Self { inner: json::Shape::new(table, &fields).map_err(refused)? })
    }
}

/// A question about one table's rows.
pub(crate) struct Ask<'q> {
    pub table: u16,
    pub prefix: &'q [u8],
    pub filters: &'q [(u8, &'q [u8])],
    pub after: Option<&'q [u8]>,
    pub limit: usize,
}

impl Ask<'_> {
    fn query(&self) -> Query<'_> {
        let Self { table, prefix, filters, after, limit } = *self;
        Query { table, prefix, filters, after, limit }
    }
}

/// Borrows the filters of a call.
pub(crate) fn filters(given: &Where) -> Vec<(u8, &[u8])> {
    given.iter().map(|(column, value)| (*column, value.as_slice())).collect()
}

pub(crate) fn get<'py>(
    py: Python<'py>,
    node: &Node,
    table: u16,
    key: &[u8],
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    node.schema().map_err(refused)?.table(table).map_err(refused)?;
    let reader = node.read().map_err(refused)?;
    let row = read::get(&reader, table, key).map_err(|error| store_failed(&error))?;
    Ok(row.map(|row| PyBytes::new(py, row)))
}

pub(crate) fn get_json(node: &Node, shape: &Shape, key: &[u8]) -> PyResult<Option<Vec<u8>>> {
    let schema = node.schema().map_err(refused)?;
    let reader = node.read().map_err(refused)?;
    json::get(&reader, &schema, &shape.inner, key).map_err(read_failed)
}

pub(crate) fn scan(node: &Node, ask: &Ask<'_>, eyes: Option<Eyes>) -> PyResult<Rows> {
    let schema = node.schema().map_err(refused)?;
    let Some(filters) = node.filters(ask.table, ask.filters).map_err(refused)? else {
        return Ok((Vec::new(), None));
    };
    let ask = Ask { filters: &filters, ..*ask };
    let reader = node.read().map_err(refused)?;
    let mut rows = Vec::new();
    let next = read::scan_seen(&reader, &schema, &ask.query(), sees(&eyes), &mut |key, row| {
        rows.push((key.to_vec(), row.to_vec()));
        Ok(())
    });
    Ok((rows, next.map_err(read_failed)?))
}

pub(crate) fn scan_json(
    node: &Node,
    shape: &Shape,
    ask: &Ask<'_>,
    eyes: Option<Eyes>,
) -> PyResult<json::Listed> {
    let schema = node.schema().map_err(refused)?;
    let Some(filters) = node.filters(ask.table, ask.filters).map_err(refused)? else {
        return Ok((b"[]".to_vec(), 0, None));
    };
    let ask = Ask { filters: &filters, ..*ask };
    let reader = node.read().map_err(refused)?;
    json::scan(&reader, &schema, &shape.inner, &ask.query(), sees(&eyes)).map_err(read_failed)
}

pub(crate) fn keys_json(node: &Node, query: &KeyQuery<'_>, eyes: Option<Eyes>) -> PyResult<json::Listed> {
    let schema = node.schema().map_err(refused)?;
    let reader = node.read().map_err(refused)?;
    json::keys(&reader, &schema, query, sees(&eyes)).map_err(read_failed)
}

fn sees(eyes: &Option<Eyes>) -> Sees<'_> {
    eyes.as_ref().map(|eyes| eyes as &dyn read::Sight)
}

/// A page of JSON for Python.
pub(crate) fn page<'py>(py: Python<'py>, (json, count, next): json::Listed) -> JsonPage<'py> {
    (PyBytes::new(py, &json), count, next.map(|key| PyBytes::new(py, &key)))
}
