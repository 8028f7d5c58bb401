//! Rows as JSON, written straight from their packed form.

use crate::json_text::{write_base64, write_padded, write_string, write_time};
use crate::msgpack::{Cursor, Malformed, Value};
use crate::read::{self, KeyQuery, Query, ReadError};
use crate::refusal::Refusal;
use crate::row::Row;
use crate::schema::{Schema, Table};
use crate::store::Read;

/// Leave the member out if it is empty, null or 0.
pub const OMIT_EMPTY: u32 = 1;
/// Bytes: text if they are UTF-8, else base64 and a member `"encoding":"base64"` after it.
pub const BYTES: u32 = 2;
/// Milliseconds since 1970 as RFC 3339 in UTC, with three digits of milliseconds.
pub const TIME: u32 = 4;
/// The cell is JSON text and goes in as it is.
pub const EMBED: u32 = 8;

const FIELDS_MAX: usize = 512;

#[derive(Debug, Clone, Copy)]
enum Source {
    Column(u8),
    Key,
    CreateIndex,
    ModifyIndex,
}

#[derive(Debug)]
struct Field {
    /// `"name":`
    label: Vec<u8>,
    source: Source,
    flags: u32,
}

/// How rows of a table are written, compiled once.
#[derive(Debug)]
pub struct Shape {
    table: u16,
    fields: Vec<Field>,
}

impl Shape {
    /// `fields`: `(json_name, source, flags)`. Source: a column position, -1 the key, -2 create_index, -3
    /// modify_index.
    ///
    /// # Errors
    /// A refusal if a source or flag is not known.
    pub fn new(table: u16, fields: &[(&str, i32, u32)]) -> Result<Self, Refusal> {
        if fields.len() > FIELDS_MAX {
            return Err(Refusal::too_large(format!("a shape is limited to {FIELDS_MAX} fields")));
        }
        let mut compiled = Vec::with_capacity(fields.len());
        for &(name, source, flags) in fields {
            let known = match source {
                -1 => Source::Key,
                -2 => Source::CreateIndex,
                -3 => Source::ModifyIndex,
                position => match u8::try_from(position) {
                    Ok(column) => Source::Column(column),
                    Err(_) => return Err(Refusal::invalid(format!("the source {source} is not known"))),
                },
            };
            if flags & !(OMIT_EMPTY | BYTES | TIME | EMBED) != 0 {
                return Err(Refusal::invalid(format!("the flags {flags} are not known")));
            }
            let mut label = Vec::new();
            write_string(&mut label, name);
            label.push(b':');
            compiled.push(Field { label, source: known, flags });
        }
        Ok(Self { table, fields: compiled })
    }

    /// The table's id.
    pub fn table(&self) -> u16 {
        self.table
    }

    /// Appends one row as a JSON object.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] if the row is damaged, a refusal if the table has no such column.
    pub fn write(&self, table: &Table, key: &[u8], row: &[u8], out: &mut Vec<u8>) -> Result<(), ReadError> {
        let row = Row::new(row)?;
        let mut cells = Cells::new(table, row);
        out.push(b'{');
        let mut first = true;
        for field in &self.fields {
            let value = match field.source {
                Source::Key => Value::Bytes(key),
                Source::CreateIndex => Value::Unsigned(row.create_index()),
                Source::ModifyIndex => Value::Unsigned(row.modify_index()),
                Source::Column(position) => {
                    let mut cursor = Cursor::new(cells.get(position)?);
                    let value = cursor.value()?;
                    if let Value::Array(_) | Value::Map(_) = value {
                        self.write_many(field, value, cursor, &mut first, out)?;
                        continue;
                    }
                    value
                }
            };
            if field.flags & OMIT_EMPTY != 0 && is_empty(&value) {
                continue;
            }
            field.open(&mut first, out);
            field.write_one(&value, out);
        }
        out.push(b'}');
        Ok(())
    }

    fn write_many(
        &self,
        field: &Field,
        value: Value<'_>,
        mut cursor: Cursor<'_>,
        first: &mut bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        if field.flags & OMIT_EMPTY != 0 && is_empty(&value) {
            return Ok(());
        }
        field.open(first, out);
        let (count, named) = match value {
            Value::Map(pairs) => (pairs, true),
            Value::Array(count) => (count, false),
            _ => (0, false),
        };
        out.push(if named { b'{' } else { b'[' });
        for at in 0..count {
            if at > 0 {
                out.push(b',');
            }
            write_string(out, cursor.text()?);
            if named {
                out.push(b':');
                write_string(out, cursor.text()?);
            }
        }
        out.push(if named { b'}' } else { b']' });
        Ok(())
    }
}

impl Field {
    fn open(&self, first: &mut bool, out: &mut Vec<u8>) {
        if !std::mem::take(first) {
            out.push(b',');
        }
        out.extend_from_slice(&self.label);
    }

    fn write_one(&self, value: &Value<'_>, out: &mut Vec<u8>) {
        match *value {
            Value::Bool(flag) => out.extend_from_slice(if flag { b"true" } else { b"false" }),
            Value::Unsigned(ms) if self.flags & TIME != 0 => write_time(out, ms),
            Value::Unsigned(number) => write_padded(out, number, 1),
            Value::Negative(number) => {
                out.push(b'-');
                write_padded(out, number.unsigned_abs(), 1);
            }
            Value::Text(bytes) | Value::Bytes(bytes) => self.write_bytes(bytes, out),
            _ => out.extend_from_slice(b"null"),
        }
    }

    fn write_bytes(&self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.flags & EMBED != 0 {
            out.extend_from_slice(bytes);
            return;
        }
        match str::from_utf8(bytes) {
            Ok(text) => write_string(out, text),
            Err(_) if self.flags & BYTES != 0 => {
                write_base64(out, bytes);
                out.extend_from_slice(b",\"encoding\":\"base64\"");
            }
            Err(_) => write_string(out, &String::from_utf8_lossy(bytes)),
        }
    }
}

fn is_empty(value: &Value<'_>) -> bool {
    matches!(value, Value::Nil | Value::Unsigned(0) | Value::Array(0) | Value::Map(0))
        || matches!(value, Value::Text(bytes) | Value::Bytes(bytes) if bytes.is_empty())
}

/// Walks a row's cells forward, and starts over only for a field that is out of order.
struct Cells<'c> {
    table: &'c Table,
    row: Row<'c>,
    cursor: Cursor<'c>,
    at: u8,
}

impl<'c> Cells<'c> {
    fn new(table: &'c Table, row: Row<'c>) -> Self {
        Self { table, row, cursor: Cursor::new(row.cells()), at: 0 }
    }

    fn get(&mut self, position: u8) -> Result<&'c [u8], ReadError> {
        let column = self.table.column(position)?;
        if position < self.at {
            *self = Self::new(self.table, self.row);
        }
        while self.at < position && !self.cursor.is_empty() {
            self.cursor.skip()?;
            self.at += 1;
        }
        if self.cursor.is_empty() {
            return Ok(&column.default);
        }
        self.at += 1;
        Ok(self.cursor.raw()?)
    }
}

/// One row as JSON; None if it is not there.
///
/// # Errors
/// [`ReadError`].
pub fn get(r: &impl Read, schema: &Schema, shape: &Shape, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
    let table = schema.table(shape.table)?;
    let Some(row) = read::get(r, shape.table, key)? else { return Ok(None) };
    let mut out = Vec::with_capacity(row.len() * 5 / 4 + 128);
    shape.write(table, key, row, &mut out)?;
    Ok(Some(out))
}

/// A JSON array, how many items it has, and the key to continue after.
pub type Listed = (Vec<u8>, usize, Option<Vec<u8>>);

/// A query's rows as one JSON array. The query's table is the shape's.
///
/// # Errors
/// [`ReadError`].
pub fn scan(r: &impl Read, schema: &Schema, shape: &Shape, query: &Query<'_>) -> Result<Listed, ReadError> {
    let table = schema.table(shape.table)?;
    let query = Query { table: shape.table, ..*query };
    let mut out = vec![b'['];
    let mut count = 0;
    let next = read::scan(r, schema, &query, &mut |key, row| {
        if count > 0 {
            out.push(b',');
        }
        count += 1;
        shape.write(table, key, row, &mut out)
    })?;
    out.push(b']');
    Ok((out, count, next))
}

/// Keys as one JSON array of strings.
///
/// # Errors
/// [`ReadError`].
pub fn keys(r: &impl Read, schema: &Schema, query: &KeyQuery<'_>) -> Result<Listed, ReadError> {
    let mut out = vec![b'['];
    let mut count = 0;
    let next = read::keys(r, schema, query, &mut |key| {
        if count > 0 {
            out.push(b',');
        }
        count += 1;
        write_string(&mut out, &String::from_utf8_lossy(key));
    })?;
    out.push(b']');
    Ok((out, count, next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sketch::*;
    use crate::store::Store;

    fn written(fields: &[(&str, i32, u32)], cells: &[V]) -> String {
        let table = Tab::new(1, "all")
            .column("bytes", "bytes")
            .column("text", "text")
            .column("unsigned", "u64")
            .column("signed", "i64")
            .column("flag", "bool")
            .column("list", "list")
            .column("map", "map")
            .column("json", "json");
        let mut replica = Replica::new(&[table]);
        replica.must(0, &[put(1, "k\"é", cells)]);
        let shape = Shape::new(1, fields).unwrap();
        let r = replica.store.read().unwrap();
        let json = get(&r, &replica.tables.schema(), &shape, "k\"é".as_bytes()).unwrap().unwrap();
        String::from_utf8(json).unwrap()
    }

    #[test]
    fn every_kind_has_its_form() {
        let fields = [
            ("key", -1, 0),
            ("create_index", -2, 0),
            ("modify_index", -3, 0),
            ("map", 6, 0),
            ("value", 0, BYTES),
            ("text", 1, 0),
            ("signed", 3, 0),
            ("at", 2, TIME),
            ("flag", 4, 0),
            ("list", 5, 0),
            ("json", 7, EMBED),
            ("again", 1, 0),
        ];
        let cells = [
            V::Bytes(b"a\nb".to_vec()),
            "<&>\u{1}".into(),
            V::Int(1_000),
            V::Int(-5),
            V::Bool(true),
            (&["x", "\"y"][..]).into(),
            V::Map(vec![("b".into(), "2".into()), ("a".into(), "1".into())]),
            V::Bytes(b"{\"a\": [1]}".to_vec()),
        ];
        let want = concat!(
            r#"{"key":"k\"é","create_index":1,"modify_index":1,"map":{"a":"1","b":"2"},"value":"a\nb","#,
            r#""text":"<&>\u0001","signed":-5,"at":"1970-01-01T00:00:01.000Z","flag":true,"#,
            r#""list":["x","\"y"],"json":{"a": [1]},"again":"<&>\u0001"}"#
        );
        assert_eq!(written(&fields, &cells), want);
    }

    #[test]
    fn empty_members_are_left_out_where_asked() {
        let fields: Vec<_> = (0..8).map(|column| ("x", column, OMIT_EMPTY)).collect();
        assert_eq!(written(&fields, &[]), "{}");
        let empty = [
            V::Bytes(vec![]),
            "".into(),
            0.into(),
            0.into(),
            V::Nil,
            V::List(vec![]),
            V::Map(vec![]),
            V::Nil,
        ];
        assert_eq!(written(&fields, &empty), "{}");
        assert_eq!(written(&[("x", 2, 0), ("y", 7, EMBED)], &[]), r#"{"x":null,"y":null}"#);
        assert_eq!(
            written(&[("x", 4, OMIT_EMPTY)], &[V::Nil, V::Nil, V::Nil, V::Nil, V::Bool(false)]),
            r#"{"x":false}"#
        );
    }

    #[test]
    fn bytes_that_are_no_text_say_how_they_are_coded() {
        let cells = [V::Bytes(vec![0xff, 0xfe])];
        let want = r#"{"value":"//4=","encoding":"base64"}"#;
        assert_eq!(written(&[("value", 0, BYTES | OMIT_EMPTY)], &cells), want);
    }

    #[test]
    fn lists_are_arrays() {
        let mut replica = Replica::new(&[Tab::new(1, "kv").column("value", "bytes")]);
        let shape = Shape::new(1, &[("key", -1, 0)]).unwrap();
        let query = Query { table: 1, prefix: b"", filters: &[], after: None, limit: 2 };
        let all = |replica: &Replica| {
            let r = replica.store.read().unwrap();
            let (json, count, next) = scan(&r, &replica.tables.schema(), &shape, &query).unwrap();
            (String::from_utf8(json).unwrap(), count, next)
        };
        assert_eq!(all(&replica), ("[]".into(), 0, None));
        replica.must(0, &[put(1, "a", &[]), put(1, "b", &[]), put(1, "c/d", &[])]);
        assert_eq!(all(&replica), (r#"[{"key":"a"},{"key":"b"}]"#.into(), 2, Some(b"b".to_vec())));
        let query = KeyQuery { table: 1, prefix: b"", separator: b"/", after: None, limit: 9 };
        let (json, count, _) =
            keys(&replica.store.read().unwrap(), &replica.tables.schema(), &query).unwrap();
        assert_eq!((json, count), (br#"["a","b","c/"]"#.to_vec(), 3));
    }

    #[test]
    fn shapes_are_checked() {
        assert!(Shape::new(1, &[("x", -4, 0)]).is_err());
        assert!(Shape::new(1, &[("x", 256, 0)]).is_err());
        assert!(Shape::new(1, &[("x", 0, 16)]).is_err());
    }
}
