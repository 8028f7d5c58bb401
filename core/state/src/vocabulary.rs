//! Guards and ops as they are read, and what of them can be checked before there are any rows.

use crate::cell::{self, CellKind, Place};
use crate::keys::KEY_BYTES_MAX;
use crate::msgpack::{Cursor, Malformed, Value};
use crate::refusal::{Bad, Refusal};
use crate::schema::{Column, Schema, Table};

/// A row key as it is given.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Key<'a> {
    Plain(&'a [u8]),
    Place(Place),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Test<'a> {
    Exists,
    Absent,
    At(u64),
    Is(u8, Cursor<'a>),
    IsNot(u8, Cursor<'a>),
    AtMost(u8, Cursor<'a>),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Guard<'a> {
    pub(crate) table: u16,
    pub(crate) key: Key<'a>,
    pub(crate) test: Test<'a>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Action<'a> {
    /// So many cells, in column order.
    Put(u32, Cursor<'a>),
    /// So many pairs of a column position and a cell.
    Patch(u32, Cursor<'a>),
    Add {
        column: u8,
        delta: i64,
        ceiling: Option<i128>,
    },
    Delete,
    DeletePrefix,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Op<'a> {
    pub(crate) table: u16,
    pub(crate) key: Key<'a>,
    pub(crate) action: Action<'a>,
}

fn table_id(cursor: &mut Cursor<'_>) -> Result<u16, Bad> {
    let id = cursor.unsigned()?;
    u16::try_from(id).map_err(|_| Refusal::unsupported(format!("table {id} is not known")).into())
}

fn column(cursor: &mut Cursor<'_>) -> Result<u8, Bad> {
    let position = cursor.unsigned()?;
    u8::try_from(position).map_err(|_| Refusal::unsupported(format!("column {position} is not known")).into())
}

/// Checks a row key's length.
pub(crate) fn check_key(key: &[u8]) -> Result<(), Refusal> {
    match key.len() {
        0 => Err(Refusal::invalid("key is required")),
        1..=KEY_BYTES_MAX => Ok(()),
        length => Err(Refusal::too_large(format!("a key is limited to {KEY_BYTES_MAX} bytes, not {length}"))),
    }
}

fn key<'a>(cursor: &mut Cursor<'a>, may_be_empty: bool) -> Result<Key<'a>, Bad> {
    match cursor.value()? {
        Value::Text(bytes) | Value::Bytes(bytes) => {
            if !(may_be_empty && bytes.is_empty()) {
                check_key(bytes)?;
            }
            Ok(Key::Plain(bytes))
        }
        Value::Ext(kind, payload) => Ok(Key::Place(Place::read(kind, payload)?)),
        _ => Err(Malformed("a key is bytes or a placeholder").into()),
    }
}

/// Reads one guard.
pub(crate) fn guard<'a>(cursor: &mut Cursor<'a>) -> Result<Guard<'a>, Bad> {
    let members = cursor.array()?;
    let number = cursor.unsigned()?;
    let wanted = match number {
        0 | 1 => 3,
        2 => 4,
        3..=5 => 5,
        _ => return Err(Bad::Unknown(format!("guard {number} is not known"))),
    };
    if members != wanted {
        return Err(Malformed("a guard has too few or too many members").into());
    }
    let (table, key) = (table_id(cursor)?, key(cursor, false)?);
    let mut compared = || -> Result<_, Bad> { Ok((column(cursor)?, Cursor::new(cursor.raw()?))) };
    let test = match number {
        0 => Test::Exists,
        1 => Test::Absent,
        3 => compared().map(|(column, value)| Test::Is(column, value))?,
        4 => compared().map(|(column, value)| Test::IsNot(column, value))?,
        5 => compared().map(|(column, value)| Test::AtMost(column, value))?,
        _ => Test::At(cursor.unsigned()?),
    };
    Ok(Guard { table, key, test })
}

/// Reads one op.
pub(crate) fn op<'a>(cursor: &mut Cursor<'a>) -> Result<Op<'a>, Bad> {
    let members = cursor.array()?;
    let number = cursor.unsigned()?;
    let wanted = match number {
        0 | 1 => 4,
        2 => 6,
        3 | 4 => 3,
        _ => return Err(Bad::Unknown(format!("op {number} is not known"))),
    };
    if members != wanted {
        return Err(Malformed("an op has too few or too many members").into());
    }
    let (table, key) = (table_id(cursor)?, key(cursor, number == 4)?);
    let mut listed = || -> Result<_, Bad> {
        let mut cells = Cursor::new(cursor.raw()?);
        Ok((cells.array()?, cells))
    };
    let action = match number {
        0 => listed().map(|(count, cells)| Action::Put(count, cells))?,
        1 => listed().map(|(count, pairs)| Action::Patch(count, pairs))?,
        2 => Action::Add { column: column(cursor)?, delta: delta(cursor)?, ceiling: ceiling(cursor)? },
        3 => Action::Delete,
        _ => Action::DeletePrefix,
    };
    Ok(Op { table, key, action })
}

fn delta(cursor: &mut Cursor<'_>) -> Result<i64, Bad> {
    match ceiling(cursor)?.map(i64::try_from) {
        Some(Ok(delta)) => Ok(delta),
        _ => Err(Refusal::invalid("the delta of an add is an i64").into()),
    }
}

fn ceiling(cursor: &mut Cursor<'_>) -> Result<Option<i128>, Bad> {
    match cursor.value()? {
        Value::Nil => Ok(None),
        Value::Unsigned(number) => Ok(Some(i128::from(number))),
        Value::Negative(number) => Ok(Some(i128::from(number))),
        _ => Err(Malformed("an integer was expected").into()),
    }
}

/// The next column of a patch; its cell follows in the cursor.
pub(crate) fn patched(pairs: &mut Cursor<'_>) -> Result<u8, Bad> {
    if pairs.array()? != 2 {
        return Err(Malformed("a patch has pairs of a column and a cell").into());
    }
    column(pairs)
}

/// Where a guard or op stands, which decides the placeholders it may use.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scope<'s> {
    Guard,
    Op,
    /// In a reaction to what happens to a row of this table.
    Reaction(&'s Table),
}

fn misplaced() -> Bad {
    Refusal::invalid("a placeholder stands where it has no meaning").into()
}

fn check_key_place(key: &Key<'_>, scope: Scope<'_>) -> Result<(), Bad> {
    let Key::Place(place) = key else { return Ok(()) };
    match (*place, scope) {
        (Place::Index, _) | (Place::Myself, Scope::Reaction(_)) => Ok(()),
        (Place::Parent { column, plus_now: false }, Scope::Reaction(parent)) => {
            match parent.column(column)?.kind {
                CellKind::Text | CellKind::Bytes => Ok(()),
                _ => Err(Refusal::invalid("a key can only be taken from text or bytes").into()),
            }
        }
        _ => Err(misplaced()),
    }
}

fn check_place(place: Place, kind: CellKind, scope: Scope<'_>) -> Result<(), Bad> {
    let fits = match (place, scope) {
        (Place::Index | Place::Now(_), _) => kind.is_number(),
        (Place::Myself, Scope::Reaction(_)) => matches!(kind, CellKind::Text | CellKind::Bytes),
        (Place::Parent { column, plus_now }, Scope::Reaction(parent)) => {
            let from = parent.column(column)?.kind;
            let numbers = from.is_number() && kind.is_number();
            numbers || !plus_now && (from == kind || from == CellKind::Text && kind == CellKind::Bytes)
        }
        _ => return Err(misplaced()),
    };
    if fits {
        Ok(())
    } else {
        Err(Refusal::invalid(format!("a placeholder cannot fill a {} cell", kind.name())).into())
    }
}

fn check_cell(
    cursor: &mut Cursor<'_>,
    column: &Column,
    scope: Scope<'_>,
    keep: bool,
    scratch: &mut Vec<u8>,
) -> Result<(), Bad> {
    scratch.clear();
    let named = |bad: Bad| match bad {
        Bad::Refused(refusal) => {
            Refusal::new(refusal.code, format!("column {:?}: {}", column.name, refusal.message)).into()
        }
        other => other,
    };
    match cell::canonical(cursor, column.kind, scratch).map_err(named)? {
        None => Ok(()),
        Some(Place::Keep) if keep => Ok(()),
        Some(place) => check_place(place, column.kind, scope).map_err(named),
    }
}

/// Checks all of a guard that does not depend on rows.
pub(crate) fn check_guard(schema: &Schema, guard: &Guard<'_>, scratch: &mut Vec<u8>) -> Result<(), Bad> {
    let table = schema.table(guard.table)?;
    check_key_place(&guard.key, Scope::Guard)?;
    let (column, mut value, numeric) = match guard.test {
        Test::Exists | Test::Absent | Test::At(_) => return Ok(()),
        Test::Is(column, value) | Test::IsNot(column, value) => (column, value, false),
        Test::AtMost(column, value) => (column, value, true),
    };
    let column = table.column(column)?;
    check_cell(&mut value, column, Scope::Guard, false, scratch)?;
    if numeric && (!column.kind.is_number() || *scratch == cell::NIL) {
        return Err(Refusal::invalid("le compares a u64 or i64 column with a number").into());
    }
    Ok(())
}

/// Checks all of an op that does not depend on rows.
pub(crate) fn check_op(
    schema: &Schema,
    op: &Op<'_>,
    scope: Scope<'_>,
    scratch: &mut Vec<u8>,
) -> Result<(), Bad> {
    let table = schema.table(op.table)?;
    check_key_place(&op.key, scope)?;
    match op.action {
        Action::Put(count, mut cells) => {
            check_count(table, count)?;
            for column in &table.columns[..count as usize] {
                check_cell(&mut cells, column, scope, true, scratch)?;
            }
        }
        Action::Patch(count, mut pairs) => {
            for _ in 0..count {
                let column = table.column(patched(&mut pairs)?)?;
                check_cell(&mut pairs, column, scope, false, scratch)?;
            }
        }
        Action::Add { column, .. } => check_countable(table, column)?,
        Action::Delete | Action::DeletePrefix => {}
    }
    Ok(())
}

/// Checks that a put has no more cells than the table has columns.
pub(crate) fn check_count(table: &Table, count: u32) -> Result<(), Refusal> {
    let columns = table.columns.len();
    if count as usize > columns {
        return Err(Refusal::invalid(format!("table {} has {columns} columns, not {count}", table.name)));
    }
    Ok(())
}

/// Checks that a column can be added to.
pub(crate) fn check_countable(table: &Table, column: u8) -> Result<(), Refusal> {
    if table.column(column)?.kind.is_number() {
        return Ok(());
    }
    Err(Refusal::invalid("add works on u64 and i64 columns"))
}
