//! The schema: tables as features declared them, and what the engine derives from that.

use std::sync::Arc;

use crate::cell::CellKind;
use crate::refusal::Refusal;
use crate::{schema_check, schema_codec};

/// The longest encoded schema in bytes.
pub const SCHEMA_BYTES_MAX: usize = 1 << 20;
/// Most tables in a schema.
pub const TABLES_MAX: usize = 1024;
/// Most columns in a table; a position is a u8 in index entries and placeholders.
pub const COLUMNS_MAX: usize = 255;
/// Most refs in a table, reactions of a ref, and ops of a reaction.
pub const REFS_MAX: usize = 64;

/// How a column can be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// Not at all.
    None,
    /// By its value.
    Single,
    /// By every item of its list, or every `name=value` of its map.
    Each,
    /// By its value, which only one row may have.
    Unique,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its frozen name.
    pub name: String,
    /// What it holds.
    pub kind: CellKind,
    /// What a row written before the column existed reads: one canonical msgpack value.
    pub default: Box<[u8]>,
    /// The index that was declared.
    pub index: Lookup,
    /// The index that is kept: as declared, or implied by a ref over the column.
    pub lookup: Lookup,
}

/// What happens to a row when the row it points at goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaction {
    /// The value of `choose_by` in the parent that this is for; nil without `choose_by`.
    pub when: Box<[u8]>,
    /// A msgpack array of ops.
    pub ops: Box<[u8]>,
}

/// A column of keys of another table's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ref {
    /// Position of the column.
    pub column: u8,
    /// Id of the parent table.
    pub parent: u16,
    /// True if the column is a list of parent keys.
    pub each: bool,
    /// The parent's column and value that break the ref as if the parent were deleted.
    pub breaks_when: Option<(u8, Box<[u8]>)>,
    /// The parent's column that chooses the reaction.
    pub choose_by: Option<u8>,
    /// The reactions.
    pub then: Vec<Reaction>,
}

/// A ref as its parent sees it: position of the child table, and of the ref in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) table: usize,
    pub(crate) reference: usize,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its frozen id.
    pub id: u16,
    /// Its frozen name.
    pub name: String,
    /// Its columns, in frozen order.
    pub columns: Vec<Column>,
    /// The column with the deadline in ms since 1970.
    pub expires: Option<u8>,
    /// The column with the length of the leader's lease in ms.
    pub lease: Option<u8>,
    /// How many rows stay.
    pub keep: Option<u64>,
    /// Its refs.
    pub refs: Vec<Ref>,
    /// Positions of the columns with a lookup.
    pub(crate) indexed: Vec<u8>,
    /// Who points at this table.
    pub(crate) children: Vec<Child>,
    /// Position in the schema.
    pub(crate) position: usize,
}

impl Table {
    /// The column at `position`.
    ///
    /// # Errors
    /// A refusal if the table has no such column.
    pub fn column(&self, position: u8) -> Result<&Column, Refusal> {
        self.columns
            .get(usize::from(position))
            .ok_or_else(|| Refusal::unsupported(format!("table {} has no column {position}", self.name)))
    }

    /// True if one op on the table is one write: nothing is looked up, nothing reacts, nothing is pushed out.
    pub(crate) fn is_plain(&self) -> bool {
        self.indexed.is_empty() && self.children.is_empty() && self.keep.is_none()
    }
}

/// All tables, ascending by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schema {
    pub(crate) tables: Vec<Table>,
}

impl Schema {
    /// Reads and checks the payload of a `Define`.
    ///
    /// # Errors
    /// A refusal that names the table and what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > SCHEMA_BYTES_MAX {
            return Err(Refusal::too_large(format!("a schema is limited to {SCHEMA_BYTES_MAX} bytes")));
        }
        let mut schema = Self { tables: schema_codec::read(bytes).map_err(Refusal::from)? };
        schema_check::derive(&mut schema)?;
        schema_check::check(&schema)?;
        Ok(schema)
    }

    /// The schema in its canonical form: equal schemas are equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        schema_codec::write(&self.tables)
    }

    /// Checks that rows written under `old` can be read under `new`, and that nothing frozen changed.
    ///
    /// # Errors
    /// A refusal that names what was changed.
    pub fn check_migration(old: &Self, new: &Self) -> Result<(), Refusal> {
        schema_check::migration(old, new)
    }

    /// All tables, ascending by id.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The table with the id.
    ///
    /// # Errors
    /// A refusal if there is none.
    pub fn table(&self, id: u16) -> Result<&Table, Refusal> {
        match self.tables.binary_search_by_key(&id, |table| table.id) {
            Ok(position) => Ok(&self.tables[position]),
            Err(_) => Err(Refusal::unsupported(format!("table {id} is not known"))),
        }
    }
}

/// A schema that readers and the applier share.
pub type Shared = Arc<Schema>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code;
    use crate::sketch::{Tab, V, add, delete, patch, put, schema};

    fn decode(tables: &[Tab]) -> Result<Schema, Refusal> {
        Schema::decode(&schema(tables))
    }

    fn things() -> Tab {
        Tab::new(2, "things").column("owner", "text").with("count", "u64", "none", V::Int(3))
    }

    #[test]
    fn encoding_is_canonical_and_loses_nothing() {
        let gone =
            [patch(2, V::Myself, &[(1, V::Now(5))]), add(2, "n", 1, -1, Some(7)), delete(2, V::Myself)];
        let tables = [
            Tab::new(1, "owners").indexed("name", "text", "unique").column("until", "u64").expires(1).keep(9),
            things().lease(1).points_at(0, 1, &gone),
        ];
        let first = decode(&tables).unwrap();
        assert_eq!(Schema::decode(&first.encode()).unwrap(), first);
        assert_eq!(first.tables[1].columns[0].lookup, Lookup::Single, "a ref keeps an index");
        assert_eq!(first.tables[0].children, [Child { table: 1, reference: 0 }]);
    }

    #[test]
    fn unsound_schemas_are_refused() {
        let kill = |table| vec![delete(table, V::Myself)];
        let bad: Vec<(&str, Vec<Tab>)> = vec![
            ("ascend", vec![things(), Tab::new(1, "early")]),
            ("ascend", vec![Tab::new(0, "zero")]),
            ("used twice", vec![things(), Tab::new(3, "things")]),
            ("used twice", vec![things().column("owner", "text")]),
            ("not known", vec![things().column("x", "float")]),
            ("not known", vec![things().indexed("x", "text", "tree")]),
            ("cannot have that index", vec![things().indexed("x", "text", "each")]),
            ("cannot have that index", vec![things().indexed("x", "list", "unique")]),
            ("cannot hold", vec![things().with("x", "u64", "none", V::Int(-1))]),
            ("must be a u64", vec![things().expires(0)]),
            ("no column", vec![things().lease(7)]),
            ("at least 1", vec![things().keep(0)]),
            ("table 9 is not known", vec![things().points_at(0, 9, &[])]),
            ("over text or bytes", vec![things().points_at(1, 2, &[])]),
            ("cannot fill", vec![things().points_at(0, 2, &[put(2, "k", &[V::Now(0)])])]),
            ("no column", vec![things().points_at(0, 2, &[put(2, "k", &[V::Parent(4, false)])])]),
            ("no meaning", vec![things().points_at(0, 2, &[patch(2, "k", &[(0, V::Keep)])])]),
            ("table 3 is not known", vec![things().points_at(0, 2, &kill(3))]),
        ];
        for (message, tables) in bad {
            let refusal = decode(&tables).unwrap_err();
            assert!(refusal.message.contains(message), "{refusal:?} should say {message:?}");
        }
        assert_eq!(Schema::decode(&vec![0x90; SCHEMA_BYTES_MAX + 1]).unwrap_err().code, code::TOO_LARGE);
    }

    #[test]
    fn migrations_only_add() {
        let old = decode(&[things().points_at(0, 2, &[])]).unwrap();
        let more = things().column("new", "list").keep(4).points_at(0, 2, &[]).points_at(0, 1, &[]);
        let added = decode(&[Tab::new(1, "owners"), more]).unwrap();
        assert_eq!(Schema::check_migration(&old, &added), Ok(()));
        let wrong = [
            Tab::new(3, "other"),
            Tab::new(2, "renamed").column("owner", "text").with("count", "u64", "none", V::Int(3)),
            Tab::new(2, "things").column("owner", "text"),
            Tab::new(2, "things").column("owner", "text").with("count", "u64", "none", V::Int(4)),
            Tab::new(2, "things").column("owner", "text").with("count", "i64", "none", V::Int(3)),
            things(),
            things().points_at(0, 2, &[]).expires(1),
            Tab::new(2, "things")
                .indexed("owner", "text", "unique")
                .with("count", "u64", "none", V::Int(3))
                .points_at(0, 2, &[]),
        ];
        for table in wrong {
            let new = decode(std::slice::from_ref(&table)).unwrap();
            assert!(Schema::check_migration(&old, &new).is_err(), "{table:?}");
        }
    }
}
