//! A version ahead of its cluster: in a rolling upgrade new nodes serve while an older schema is in force.
//!
//! What the schema in force lacks, no row has: it reads as its default, and what only says so again is left
//! out of what is written.

use crate::cell::{self, Place};
use crate::index::Values;
use crate::msgpack::{self, Cursor, Malformed};
use crate::refusal::{Bad, Refusal};
use crate::schema::{Lookup, Schema, Table};
use crate::vocabulary::{self, Test};

const PUT: u64 = 0;
const EXISTS: u64 = 0;

/// True if `ours` adds to the schema in force, and only adds.
pub fn is_ahead(in_force: &Schema, ours: &Schema) -> bool {
    !in_force.tables.is_empty() && in_force != ours && Schema::check_migration(in_force, ours).is_ok()
}

/// `cases` without what only says that columns the schema in force lacks have their defaults: such guards
/// always hold, such cells of a put change nothing. What says more than that is left as it is, and refused
/// by [`crate::entry::validate`].
///
/// # Errors
/// A refusal if these are no cases.
pub fn fitted(in_force: &Schema, ours: &Schema, cases: &[u8]) -> Result<Vec<u8>, Refusal> {
    fit(in_force, ours, cases).map_err(Refusal::from)
}

fn fit(in_force: &Schema, ours: &Schema, cases: &[u8]) -> Result<Vec<u8>, Bad> {
    let mut out = Vec::with_capacity(cases.len());
    let mut cursor = Cursor::new(cases);
    let count = cursor.array()?;
    msgpack::write_array(&mut out, count as usize);
    for _ in 0..count {
        if cursor.array()? != 2 {
            return Err(Malformed("a case has guards and ops").into());
        }
        msgpack::write_array(&mut out, 2);
        let (mut kept, mut guards) = (0, Vec::new());
        for _ in 0..cursor.array()? {
            kept += usize::from(fit_guard(in_force, ours, cursor.raw()?, &mut guards)?);
        }
        msgpack::write_array(&mut out, kept);
        out.append(&mut guards);
        let ops = cursor.array()?;
        msgpack::write_array(&mut out, ops as usize);
        for _ in 0..ops {
            fit_op(in_force, ours, cursor.raw()?, &mut out)?;
        }
    }
    Ok(out)
}

/// True if there is a guard left.
fn fit_guard(in_force: &Schema, ours: &Schema, packed: &[u8], out: &mut Vec<u8>) -> Result<bool, Bad> {
    let guard = vocabulary::guard(&mut Cursor::new(packed))?;
    if let (Test::Is(column, mut value), Some((before, after))) =
        (guard.test, both(in_force, ours, guard.table))
        && usize::from(column) >= before.columns.len()
        && says_nothing(after, column, &mut value, false)?
    {
        if *after.column(column)?.default == *cell::NIL {
            return Ok(false);
        }
        // A row that is not there has nil in every column, and nothing else.
        let mut step = Cursor::new(packed);
        step.array()?;
        step.unsigned()?;
        let (table, key) = (step.raw()?, step.raw()?);
        msgpack::write_array(out, 3);
        msgpack::write_unsigned(out, EXISTS);
        out.extend_from_slice(table);
        out.extend_from_slice(key);
        return Ok(true);
    }
    out.extend_from_slice(packed);
    Ok(true)
}

/// The table in both schemas.
fn both<'s>(in_force: &'s Schema, ours: &'s Schema, id: u16) -> Option<(&'s Table, &'s Table)> {
    Some((in_force.table(id).ok()?, ours.table(id).ok()?))
}

/// True for a column's default, and with `keep` for what keeps a cell.
fn says_nothing(table: &Table, column: u8, cell: &mut Cursor<'_>, keep: bool) -> Result<bool, Bad> {
    let column = table.column(column)?;
    let mut canonical = Vec::new();
    let place = cell::canonical(cell, column.kind, &mut canonical)?;
    Ok(match place {
        Some(place) => keep && place == Place::Keep,
        None => *canonical == *column.default,
    })
}

fn fit_op(in_force: &Schema, ours: &Schema, packed: &[u8], out: &mut Vec<u8>) -> Result<(), Bad> {
    let mut op = Cursor::new(packed);
    let (members, number) = (op.array()?, op.unsigned()?);
    let id = op.unsigned()?;
    let tables = u16::try_from(id).ok().and_then(|id| both(in_force, ours, id));
    let (PUT, 4, Some((before, after))) = (number, members, tables) else {
        out.extend_from_slice(packed);
        return Ok(());
    };
    let (key, mut cells) = (op.raw()?, Cursor::new(op.raw()?));
    let (count, fits) = (cells.array()?, before.columns.len());
    if count as usize <= fits || count as usize > after.columns.len() {
        out.extend_from_slice(packed);
        return Ok(());
    }
    let start = cells.rest();
    for _ in 0..fits {
        cells.skip()?;
    }
    let known = &start[..start.len() - cells.rest().len()];
    for column in fits..count as usize {
        let column = u8::try_from(column).map_err(|_| Malformed("a put has too many cells"))?;
        if !says_nothing(after, column, &mut cells, true)? {
            out.extend_from_slice(packed);
            return Ok(());
        }
    }
    msgpack::write_array(out, 4);
    msgpack::write_unsigned(out, PUT);
    msgpack::write_unsigned(out, id);
    out.extend_from_slice(key);
    msgpack::write_array(out, fits);
    out.extend_from_slice(known);
    Ok(())
}

/// Index values of a query, by column.
pub type Filters<'q> = Vec<(u8, &'q [u8])>;

/// The filters that the schema in force can be asked: a column it lacks has its default in every row. `None`
/// if no row matches.
///
/// # Errors
/// A refusal for a table or column that is not known to either, or has no index.
pub fn filters<'q>(
    in_force: &Schema,
    ours: &Schema,
    table: u16,
    given: &[(u8, &'q [u8])],
) -> Result<Option<Filters<'q>>, Refusal> {
    let after = ours.table(table)?;
    let Ok(before) = in_force.table(table) else { return Ok(None) };
    let mut asked = Vec::with_capacity(given.len());
    let mut values = Values::default();
    for (position, value) in given {
        let known = before.columns.get(usize::from(*position));
        let column = known.map_or_else(|| after.column(*position), Ok)?;
        if column.lookup == Lookup::None {
            return Err(Refusal::unsupported(format!("column {:?} has no index", column.name)));
        }
        if known.is_some() {
            asked.push((*position, *value));
            continue;
        }
        values.collect(&column.default, column.lookup).map_err(Bad::from)?;
        if !values.iter().any(|one| one == *value) {
            return Ok(None);
        }
    }
    Ok(Some(asked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::validate;
    use crate::sketch::*;

    fn schemas() -> (Schema, Schema) {
        let old = || Tab::new(1, "kv").column("value", "bytes").indexed("flags", "u64", "single");
        let kept =
            old().with("holder", "text", "single", V::Nil).with("state", "text", "single", "fine".into());
        let new = [kept, Tab::new(2, "held").column("by", "text")];
        let decoded = |tables: &[Tab]| Schema::decode(&schema(tables)).unwrap();
        (decoded(&[old()]), decoded(&new))
    }

    fn fit(body: &[u8]) -> Vec<u8> {
        let (old, new) = schemas();
        fitted(&old, &new, body).unwrap()
    }

    #[test]
    fn who_only_adds_is_ahead() {
        let (old, new) = schemas();
        assert!(is_ahead(&old, &new));
        assert!(!is_ahead(&new, &old));
        assert!(!is_ahead(&new, &new));
        assert!(!is_ahead(&Schema::default(), &new));
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        let (old, new) = schemas();
        let value = || V::Bytes(b"v".to_vec());
        let body = cases(&[(
            vec![is(1, "k", 2, V::Nil), is(1, "k", 3, "fine"), at(1, "k", 5)],
            vec![put(1, "k", &[value(), V::Int(7), V::Keep, V::Keep]), delete(1, "l")],
        )]);
        assert!(validate(&old, &body).is_err());
        let short = cases(&[(
            vec![exists(1, "k"), at(1, "k", 5)],
            vec![put(1, "k", &[value(), V::Int(7)]), delete(1, "l")],
        )]);
        validate(&new, &body).unwrap();
        assert_eq!(fit(&body), short);
        validate(&old, &short).unwrap();
    }

    #[test]
    fn what_says_something_stays_and_is_refused() {
        let (old, new) = schemas();
        let value = || V::Bytes(b"v".to_vec());
        for body in [
            cases(&[(vec![is(1, "k", 2, "me")], vec![])]),
            always(&[put(1, "k", &[value(), V::Int(7), "me".into(), V::Keep])]),
            always(&[patch(1, "k", &[(2, "me".into())])]),
            always(&[delete(2, "k")]),
        ] {
            assert_eq!(fit(&body), body);
            validate(&new, &body).unwrap();
            assert!(validate(&old, &body).is_err());
        }
    }

    #[test]
    fn what_is_not_there_is_found_by_its_default() {
        let (old, new) = schemas();
        let asked = |table, given: &[(u8, &'static [u8])]| filters(&old, &new, table, given).unwrap();
        assert_eq!(asked(1, &[(3, b"fine")]), Some(vec![]));
        assert_eq!(asked(1, &[(3, b"fine"), (1, b"7")]), Some(vec![(1, b"7".as_slice())]));
        assert_eq!(asked(1, &[(3, b"bad")]), None);
        assert_eq!(asked(1, &[(2, b"me")]), None);
        assert_eq!(asked(2, &[]), None);
        assert!(filters(&old, &new, 3, &[]).is_err());
    }
}
