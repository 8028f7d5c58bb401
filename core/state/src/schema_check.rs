//! What makes a schema sound, what the engine derives from it, and which changes are additive.

use crate::cell::{self, CellKind, NIL};
use crate::msgpack::Cursor;
use crate::refusal::{Bad, Refusal};
use crate::schema::{Child, Column, Lookup, Ref, Schema, Table};
use crate::vocabulary::{self, Scope};

/// Fills in lookups implied by refs, positions and children, and brings values into canonical form.
pub(crate) fn derive(schema: &mut Schema) -> Result<(), Refusal> {
    for table in &mut schema.tables {
        derive_lookups(table)?;
    }
    let mut children = Vec::new();
    for (position, table) in schema.tables.iter().enumerate() {
        for (number, reference) in table.refs.iter().enumerate() {
            let parent = schema.table(reference.parent)?;
            children.push((parent.position, Child { table: position, reference: number }));
        }
    }
    for (parent, child) in children {
        schema.tables[parent].children.push(child);
    }
    derive_values(schema)
}

fn derive_lookups(table: &mut Table) -> Result<(), Refusal> {
    for column in &mut table.columns {
        column.lookup = column.index;
    }
    for reference in &table.refs {
        let Some(column) = table.columns.get_mut(usize::from(reference.column)) else {
            return Err(Refusal::invalid(format!(
                "table {}: a ref is over a column that is not there",
                table.name
            )));
        };
        let implied = if reference.each { Lookup::Each } else { Lookup::Single };
        if column.lookup == Lookup::None {
            column.lookup = implied;
        }
    }
    table.indexed = (0..=u8::MAX)
        .zip(&table.columns)
        .filter(|(_, column)| column.lookup != Lookup::None)
        .map(|(position, _)| position)
        .collect();
    Ok(())
}

/// Reads values of parent columns, whose kinds are only known once all tables are.
fn derive_values(schema: &mut Schema) -> Result<(), Refusal> {
    let known = schema.clone();
    for table in &mut schema.tables {
        let name = &table.name;
        for reference in &mut table.refs {
            let parent = known.table(reference.parent)?;
            if let Some((column, value)) = &mut reference.breaks_when {
                *value = constant(value, parent.column(*column)?, name)?;
            }
            for reaction in &mut reference.then {
                reaction.when = match reference.choose_by {
                    Some(column) => constant(&reaction.when, parent.column(column)?, name)?,
                    None if *reaction.when == *NIL => NIL.into(),
                    None => return Err(wrong(name, "a reaction has a value, but its ref has no choose_by")),
                };
            }
        }
    }
    Ok(())
}

fn constant(value: &[u8], column: &Column, table: &str) -> Result<Box<[u8]>, Refusal> {
    let mut out = Vec::new();
    match cell::canonical(&mut Cursor::new(value), column.kind, &mut out).map_err(Refusal::from)? {
        None => Ok(out.into()),
        Some(_) => Err(wrong(table, "a ref compares with a placeholder")),
    }
}

fn wrong(table: &str, what: &str) -> Refusal {
    Refusal::invalid(format!("table {table}: {what}"))
}

/// Checks everything that a single table or a pair of tables must keep to.
pub(crate) fn check(schema: &Schema) -> Result<(), Refusal> {
    let mut last = 0;
    for table in &schema.tables {
        if table.id <= last {
            return Err(wrong(&table.name, "ids start at 1 and ascend"));
        }
        last = table.id;
        check_table(table)?;
        for reference in &table.refs {
            check_ref(schema, table, reference)?;
        }
    }
    let mut names: Vec<&str> = schema.tables.iter().map(|table| table.name.as_str()).collect();
    unique_names(&mut names, "schema")
}

fn unique_names(names: &mut [&str], place: &str) -> Result<(), Refusal> {
    names.sort_unstable();
    if names.first() == Some(&"") {
        return Err(wrong(place, "a name is missing"));
    }
    match names.windows(2).find(|two| two[0] == two[1]) {
        Some(two) => Err(wrong(place, &format!("the name {:?} is used twice", two[0]))),
        None => Ok(()),
    }
}

fn check_table(table: &Table) -> Result<(), Refusal> {
    let name = &table.name;
    let mut names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    unique_names(&mut names, name)?;
    for column in &table.columns {
        let many = matches!(column.kind, CellKind::List | CellKind::Map);
        let fits = match column.lookup {
            Lookup::None => true,
            Lookup::Each => many,
            Lookup::Single | Lookup::Unique => !many,
        };
        if !fits {
            return Err(wrong(name, &format!("column {:?} cannot have that index", column.name)));
        }
    }
    for (what, position) in [("expires", table.expires), ("lease", table.lease)] {
        let Some(position) = position else { continue };
        if table.column(position)?.kind != CellKind::U64 {
            return Err(wrong(name, &format!("the column of {what} must be a u64")));
        }
    }
    if table.keep == Some(0) {
        return Err(wrong(name, "keep must be at least 1"));
    }
    Ok(())
}

fn check_ref(schema: &Schema, table: &Table, reference: &Ref) -> Result<(), Refusal> {
    let name = &table.name;
    let kind = table.column(reference.column)?.kind;
    let fits = if reference.each {
        kind == CellKind::List
    } else {
        matches!(kind, CellKind::Text | CellKind::Bytes)
    };
    if !fits {
        return Err(wrong(name, "a ref is over text or bytes, or with each over a list"));
    }
    if reference.choose_by.is_none() && reference.then.len() > 1 {
        return Err(wrong(name, "a ref without choose_by has one reaction"));
    }
    let scope = Scope::Reaction(schema.table(reference.parent)?);
    let mut scratch = Vec::new();
    for reaction in &reference.then {
        check_reaction(schema, &reaction.ops, scope, &mut scratch).map_err(|bad| {
            let refusal = Refusal::from(bad);
            Refusal::new(refusal.code, format!("table {name}, a reaction: {}", refusal.message))
        })?;
    }
    Ok(())
}

fn check_reaction(schema: &Schema, ops: &[u8], scope: Scope<'_>, scratch: &mut Vec<u8>) -> Result<(), Bad> {
    let mut cursor = Cursor::new(ops);
    for _ in 0..cursor.array()? {
        let op = vocabulary::op(&mut cursor)?;
        vocabulary::check_op(schema, &op, scope, scratch)?;
    }
    Ok(())
}

/// Checks that every change from `old` to `new` only adds.
pub(crate) fn migration(old: &Schema, new: &Schema) -> Result<(), Refusal> {
    for before in &old.tables {
        let Ok(after) = new.table(before.id) else {
            return Err(wrong(&before.name, "a table cannot be removed"));
        };
        migrate_table(before, after)?;
    }
    Ok(())
}

fn migrate_table(before: &Table, after: &Table) -> Result<(), Refusal> {
    let name = &before.name;
    if before.name != after.name {
        return Err(wrong(name, "a table cannot be renamed"));
    }
    if after.columns.len() < before.columns.len() {
        return Err(wrong(name, "a column cannot be removed"));
    }
    for (old, new) in before.columns.iter().zip(&after.columns) {
        let column = &old.name;
        if old.name != new.name || old.kind != new.kind || old.default != new.default {
            return Err(wrong(name, &format!("column {column:?} cannot change its name, kind or default")));
        }
        if old.index != new.index && old.index != Lookup::None {
            return Err(wrong(name, &format!("column {column:?} cannot change its index")));
        }
        // An index that a ref implied is kept as single or each; declaring it so changes nothing.
        if old.lookup != new.lookup && old.lookup != Lookup::None {
            return Err(wrong(
                name,
                &format!("column {column:?} has its index from a ref; it cannot be unique"),
            ));
        }
    }
    if before.expires != after.expires || before.lease != after.lease {
        return Err(wrong(name, "expires and lease cannot change"));
    }
    if before.keep != after.keep && before.keep.is_some() {
        return Err(wrong(name, "keep cannot change"));
    }
    if !after.refs.starts_with(&before.refs) {
        return Err(wrong(name, "refs can only be added, at the end"));
    }
    Ok(())
}
