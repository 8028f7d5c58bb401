//! Msgpack in and out of the schema. Unknown members are refused: they mean something to a newer version.

use crate::cell::{self, CellKind, NIL};
use crate::msgpack::{self, Cursor, Malformed, Value};
use crate::refusal::{Bad, Refusal};
use crate::schema::{COLUMNS_MAX, Column, Lookup, REFS_MAX, Reaction, Ref, TABLES_MAX, Table};

const NAME_BYTES_MAX: usize = 128;
const LOOKUPS: [(&str, Lookup); 4] =
    [("none", Lookup::None), ("single", Lookup::Single), ("each", Lookup::Each), ("unique", Lookup::Unique)];

fn unknown(member: &str) -> Bad {
    Refusal::unsupported(format!("the schema member {member:?} is not known")).into()
}

fn limited(count: u32, limit: usize, what: &str) -> Result<usize, Bad> {
    let count = count as usize;
    if count > limit {
        return Err(Refusal::too_large(format!("a schema is limited to {limit} {what}")).into());
    }
    Ok(count)
}

/// Reads the tables; what they mean to each other is checked afterwards.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Table>, Bad> {
    let mut cursor = Cursor::new(bytes);
    let count = limited(cursor.array()?, TABLES_MAX, "tables")?;
    let mut tables = Vec::new();
    for position in 0..count {
        let mut table = read_table(&mut cursor)?;
        table.position = position;
        tables.push(table);
    }
    if cursor.is_empty() { Ok(tables) } else { Err(Malformed("something follows the schema").into()) }
}

fn read_table(cursor: &mut Cursor<'_>) -> Result<Table, Bad> {
    let mut table = Table {
        id: 0,
        name: String::new(),
        columns: Vec::new(),
        expires: None,
        lease: None,
        keep: None,
        refs: Vec::new(),
        indexed: Vec::new(),
        children: Vec::new(),
        position: 0,
    };
    for _ in 0..cursor.map()? {
        match cursor.text()? {
            "id" => {
                let id = cursor.unsigned()?;
                table.id = u16::try_from(id).map_err(|_| Refusal::invalid("a table id is over 65535"))?;
            }
            "name" => table.name = name(cursor)?,
            "columns" => {
                for _ in 0..limited(cursor.array()?, COLUMNS_MAX, "columns in a table")? {
                    table.columns.push(read_column(cursor)?);
                }
            }
            "expires" => table.expires = position(cursor)?,
            "lease" => table.lease = position(cursor)?,
            "keep" => table.keep = optional(cursor)?,
            "refs" => {
                for _ in 0..limited(cursor.array()?, REFS_MAX, "refs in a table")? {
                    table.refs.push(read_ref(cursor)?);
                }
            }
            other => return Err(unknown(other)),
        }
    }
    Ok(table)
}

fn name(cursor: &mut Cursor<'_>) -> Result<String, Bad> {
    let name = cursor.text()?;
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(
            Refusal::invalid(format!("a name has 1 to {NAME_BYTES_MAX} bytes, not {}", name.len())).into()
        );
    }
    Ok(name.to_owned())
}

fn optional(cursor: &mut Cursor<'_>) -> Result<Option<u64>, Bad> {
    match cursor.value()? {
        Value::Nil => Ok(None),
        Value::Unsigned(number) => Ok(Some(number)),
        _ => Err(Malformed("nil or a non-negative integer was expected").into()),
    }
}

fn position(cursor: &mut Cursor<'_>) -> Result<Option<u8>, Bad> {
    let number = optional(cursor)?;
    let position = number.map(u8::try_from).transpose();
    position.map_err(|_| Refusal::invalid("a column position is over 254").into())
}

fn required_position(cursor: &mut Cursor<'_>) -> Result<u8, Bad> {
    position(cursor)?.ok_or_else(|| Refusal::invalid("a column position is missing").into())
}

fn flag(cursor: &mut Cursor<'_>) -> Result<bool, Bad> {
    match cursor.value()? {
        Value::Bool(flag) => Ok(flag),
        _ => Err(Malformed("true or false was expected").into()),
    }
}

fn read_column(cursor: &mut Cursor<'_>) -> Result<Column, Bad> {
    let mut column = Column {
        name: String::new(),
        kind: CellKind::Bytes,
        default: NIL.into(),
        index: Lookup::None,
        lookup: Lookup::None,
    };
    let mut kind = None;
    let mut default = Cursor::new(NIL);
    for _ in 0..cursor.map()? {
        match cursor.text()? {
            "name" => column.name = name(cursor)?,
            "kind" => kind = Some(cursor.text()?),
            "default" => default = Cursor::new(cursor.raw()?),
            "index" => column.index = lookup(cursor.text()?)?,
            other => return Err(unknown(other)),
        }
    }
    let kind = kind.ok_or_else(|| Refusal::invalid("a column has no kind"))?;
    column.kind = CellKind::named(kind)
        .ok_or_else(|| Refusal::unsupported(format!("the kind {kind:?} is not known")))?;
    let mut bytes = Vec::new();
    if cell::canonical(&mut default, column.kind, &mut bytes)?.is_some() {
        return Err(Refusal::invalid("a default cannot be a placeholder").into());
    }
    column.default = bytes.into();
    Ok(column)
}

fn lookup(name: &str) -> Result<Lookup, Bad> {
    match LOOKUPS.iter().find(|(known, _)| *known == name) {
        Some((_, lookup)) => Ok(*lookup),
        None => Err(Refusal::unsupported(format!("the index {name:?} is not known")).into()),
    }
}

fn read_ref(cursor: &mut Cursor<'_>) -> Result<Ref, Bad> {
    let mut reference =
        Ref { column: 0, parent: 0, each: false, breaks_when: None, choose_by: None, then: Vec::new() };
    for _ in 0..cursor.map()? {
        match cursor.text()? {
            "column" => reference.column = required_position(cursor)?,
            "parent" => {
                let id = cursor.unsigned()?;
                reference.parent =
                    u16::try_from(id).map_err(|_| Refusal::invalid("a table id is over 65535"))?;
            }
            "each" => reference.each = flag(cursor)?,
            "breaks_when" => reference.breaks_when = read_breaks_when(cursor)?,
            "choose_by" => reference.choose_by = position(cursor)?,
            "then" => {
                for _ in 0..limited(cursor.array()?, REFS_MAX, "reactions of a ref")? {
                    reference.then.push(read_reaction(cursor)?);
                }
            }
            other => return Err(unknown(other)),
        }
    }
    Ok(reference)
}

/// A column position and the value it is compared with.
type Compared = (u8, Box<[u8]>);

fn read_breaks_when(cursor: &mut Cursor<'_>) -> Result<Option<Compared>, Bad> {
    match cursor.value()? {
        Value::Nil => Ok(None),
        Value::Array(2) => Ok(Some((required_position(cursor)?, cursor.raw()?.into()))),
        _ => Err(Malformed("breaks_when is nil or a column and a value").into()),
    }
}

fn read_reaction(cursor: &mut Cursor<'_>) -> Result<Reaction, Bad> {
    if cursor.array()? != 2 {
        return Err(Malformed("a reaction is a value and an array of ops").into());
    }
    let when = cursor.raw()?.into();
    let ops = cursor.raw()?;
    limited(Cursor::new(ops).array()?, REFS_MAX, "ops in a reaction")?;
    Ok(Reaction { when, ops: ops.into() })
}

/// Writes the tables, every member in a fixed order.
pub(crate) fn write(tables: &[Table]) -> Vec<u8> {
    let mut out = Vec::new();
    msgpack::write_array(&mut out, tables.len());
    for table in tables {
        write_table(&mut out, table);
    }
    out
}

fn label(out: &mut Vec<u8>, label: &str) {
    msgpack::write_text(out, label.as_bytes());
}

fn write_optional(out: &mut Vec<u8>, number: Option<u64>) {
    match number {
        Some(number) => msgpack::write_unsigned(out, number),
        None => msgpack::write_nil(out),
    }
}

fn write_table(out: &mut Vec<u8>, table: &Table) {
    msgpack::write_map(out, 7);
    label(out, "id");
    msgpack::write_unsigned(out, u64::from(table.id));
    label(out, "name");
    label(out, &table.name);
    label(out, "columns");
    msgpack::write_array(out, table.columns.len());
    for column in &table.columns {
        msgpack::write_map(out, 4);
        label(out, "name");
        label(out, &column.name);
        label(out, "kind");
        label(out, column.kind.name());
        label(out, "default");
        out.extend_from_slice(&column.default);
        label(out, "index");
        label(out, LOOKUPS.iter().find(|(_, lookup)| *lookup == column.index).map_or("", |(name, _)| name));
    }
    label(out, "expires");
    write_optional(out, table.expires.map(u64::from));
    label(out, "lease");
    write_optional(out, table.lease.map(u64::from));
    label(out, "keep");
    write_optional(out, table.keep);
    label(out, "refs");
    msgpack::write_array(out, table.refs.len());
    for reference in &table.refs {
        write_ref(out, reference);
    }
}

fn write_ref(out: &mut Vec<u8>, reference: &Ref) {
    msgpack::write_map(out, 6);
    label(out, "column");
    msgpack::write_unsigned(out, u64::from(reference.column));
    label(out, "parent");
    msgpack::write_unsigned(out, u64::from(reference.parent));
    label(out, "each");
    msgpack::write_bool(out, reference.each);
    label(out, "breaks_when");
    match &reference.breaks_when {
        Some((column, value)) => {
            msgpack::write_array(out, 2);
            msgpack::write_unsigned(out, u64::from(*column));
            out.extend_from_slice(value);
        }
        None => msgpack::write_nil(out),
    }
    label(out, "choose_by");
    write_optional(out, reference.choose_by.map(u64::from));
    label(out, "then");
    msgpack::write_array(out, reference.then.len());
    for reaction in &reference.then {
        msgpack::write_array(out, 2);
        out.extend_from_slice(&reaction.when);
        out.extend_from_slice(&reaction.ops);
    }
}
