//! Shapes: which members a row has as JSON, and how they are written, compiled once.

use crate::json_text::{write_base64, write_padded, write_string, write_time};
use crate::msgpack::{Cursor, Malformed, Value};
use crate::read::ReadError;
use crate::refusal::Refusal;
use crate::row::Row;
use crate::schema::Table;

/// Leave the member out if it is empty, null or 0.
pub const OMIT_EMPTY: u32 = 1;
/// Bytes: text if they are UTF-8, else base64 and a member that says so after it: `"encoding":"base64"`,
/// and for any other member than `value` with its name in front: `"old_value_encoding":"base64"`.
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
    /// `,"encoding":"base64"`
    coding: Vec<u8>,
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
            let coding = match name {
                "value" => "encoding".into(),
                other => format!("{other}_encoding"),
            };
            let mut said = vec![b','];
            write_string(&mut said, &coding);
            said.extend_from_slice(b":\"base64\"");
            compiled.push(Field { label, source: known, flags, coding: said });
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
        out.push(b'{');
        self.write_members(table, key, row, true, out)?;
        out.push(b'}');
        Ok(())
    }

    /// Appends one row's members without braces; a comma before the first of them unless it `is_first`.
    ///
    /// # Errors
    /// As [`Shape::write`].
    pub fn write_members(
        &self,
        table: &Table,
        key: &[u8],
        row: &[u8],
        is_first: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        let row = Row::new(row)?;
        let mut cells = Cells::new(table, row);
        let mut first = is_first;
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
                out.extend_from_slice(&self.coding);
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
