//! Watches as Python sees them: forms, specifications, and what was seen.

use std::sync::Arc;

use konsul_node::{Seen, code};
use konsul_state::msgpack::{Cursor, Malformed, Value};
use konsul_views::{self as views, Spec};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::door::{error, refused};

/// A JSON field: its name, its source, its flags.
type Field = (String, i32, u32);

/// A column and the index value it must have.
type Where = (u8, Box<[u8]>);

fn borrowed(fields: &[Field]) -> Vec<views::Member<'_>> {
    fields.iter().map(|(name, source, flags)| (name.as_str(), *source, *flags)).collect()
}

/// How a change of a table's row is written as JSON, compiled once.
#[pyclass(frozen, module = "konsul._core")]
pub(crate) struct Form {
    pub inner: Arc<views::Form>,
}

#[pymethods]
impl Form {
    #[new]
    #[pyo3(signature = (table, kinds, row, old=Vec::new(), wrap="", only=None))]
    fn new(
        table: u16,
        kinds: (String, String, String, String, String),
        row: Vec<Field>,
        old: Vec<Field>,
        wrap: &str,
        only: Option<(u8, Vec<Vec<u8>>)>,
    ) -> PyResult<Self> {
        let kinds = [&kinds.0, &kinds.1, &kinds.2, &kinds.3, &kinds.4].map(String::as_str);
        let mut form =
            views::Form::new(table, kinds, &borrowed(&row), &borrowed(&old), wrap).map_err(refused)?;
        if let Some((column, values)) = only {
            form = form.only(column, values.into_iter().map(Box::from).collect());
        }
        Ok(Self { inner: Arc::new(form) })
    }
}

/// Reads a specification; every member must be there, no other may be.
pub(crate) fn spec(packed: &[u8]) -> PyResult<Spec> {
    let wrong = |why: String| error(code::INVALID, format!("the watch cannot be understood: {why}"));
    let malformed = |why: Malformed| wrong(why.to_string());
    let mut spec = Spec {
        table: 0,
        separator: 0,
        pattern: String::new(),
        wheres: Vec::new(),
        renewals: false,
        coalesce: false,
        buffer: 0,
    };
    let mut cursor = Cursor::new(packed);
    let mut missing = vec!["table", "separator", "pattern", "where", "renewals", "coalesce", "buffer"];
    for _ in 0..cursor.map().map_err(malformed)? {
        let name = cursor.text().map_err(malformed)?;
        let Some(at) = missing.iter().position(|known| *known == name) else {
            return Err(wrong(format!("{name:?} is not known, or there twice")));
        };
        missing.swap_remove(at);
        if name == "where" {
            spec.wheres = wheres(&mut cursor).map_err(malformed)?;
            continue;
        }
        let value = cursor.value().map_err(malformed)?;
        let is_read = match (name, &value) {
            ("table", Value::Unsigned(number)) => set(&mut spec.table, *number),
            ("separator", Value::Unsigned(number)) => set(&mut spec.separator, *number),
            ("buffer", Value::Unsigned(number)) => set(&mut spec.buffer, *number),
            ("renewals", Value::Bool(flag)) => set(&mut spec.renewals, *flag),
            ("coalesce", Value::Bool(flag)) => set(&mut spec.coalesce, *flag),
            ("pattern", Value::Text(text)) => match std::str::from_utf8(text) {
                Ok(text) => set(&mut spec.pattern, text),
                Err(_) => false,
            },
            _ => false,
        };
        if !is_read {
            return Err(wrong(format!("{name} is {value:?}")));
        }
    }
    match missing.first() {
        Some(name) => Err(wrong(format!("{name} is missing"))),
        None => Ok(spec),
    }
}

fn set<T: TryFrom<V>, V>(place: &mut T, value: V) -> bool {
    T::try_from(value).is_ok_and(|value| {
        *place = value;
        true
    })
}

fn wheres(cursor: &mut Cursor<'_>) -> Result<Vec<Where>, Malformed> {
    let mut wheres = Vec::new();
    for _ in 0..cursor.array()? {
        if cursor.array()? != 2 {
            return Err(Malformed("a where is a column and a value"));
        }
        let column = cursor.unsigned()?;
        let column = u8::try_from(column).map_err(|_| Malformed("a column is a number below 256"))?;
        let value = match cursor.value()? {
            Value::Text(value) | Value::Bytes(value) => value.into(),
            _ => return Err(Malformed("an index value is text or bytes")),
        };
        wheres.push((column, value));
    }
    Ok(wheres)
}

/// What was seen as tuples: ten thousand watches of one change share its two objects.
pub(crate) fn list<'py>(py: Python<'py>, seen: &Seen) -> PyResult<Bound<'py, PyList>> {
    let changes: Vec<_> = seen
        .changes
        .iter()
        .map(|(key, payload)| (PyBytes::new(py, key), PyBytes::new(py, payload)))
        .collect();
    PyList::new(
        py,
        seen.items.iter().map(|(watch, kind, index, place)| {
            let (key, payload) = &changes[*place];
            (*watch, *kind as u8, *index, key, payload)
        }),
    )
}
