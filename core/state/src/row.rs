//! Packed rows: create_index u64 BE, modify_index u64 BE, then one msgpack value per column.

use crate::cell;
use crate::msgpack::{Cursor, Malformed};
use crate::refusal::Refusal;
use crate::schema::Table;

/// The longest row in bytes.
pub const ROW_BYTES_MAX: usize = 64 << 20;
/// Bytes before the first cell.
pub const HEADER_BYTES: usize = 16;

/// A stored row, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    bytes: &'a [u8],
}

impl<'a> Row<'a> {
    /// Wraps stored bytes.
    ///
    /// # Errors
    /// [`Malformed`] if they are shorter than the header. Cells are checked by [`Row::check`], or when they
    /// are read.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() < HEADER_BYTES {
            return Err(Malformed("a row is shorter than its header"));
        }
        Ok(Self { bytes })
    }

    fn number(&self, at: usize) -> u64 {
        self.bytes[at..].first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }

    /// The index of the entry that created the row.
    pub fn create_index(&self) -> u64 {
        self.number(0)
    }

    /// The index of the entry that last wrote the row.
    pub fn modify_index(&self) -> u64 {
        self.number(8)
    }

    /// All cells, one msgpack value after the other.
    pub fn cells(&self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..]
    }

    /// The msgpack value of the column at position `column`; its default if the row is older than the column.
    ///
    /// # Errors
    /// [`Malformed`] if the stored row is damaged.
    pub fn cell<'b>(&self, table: &'b Table, column: u8) -> Result<&'b [u8], Malformed>
    where
        'a: 'b,
    {
        let mut cursor = Cursor::new(self.cells());
        for _ in 0..column {
            if cursor.is_empty() {
                break;
            }
            cursor.skip()?;
        }
        if cursor.is_empty() { Ok(&table.columns[usize::from(column)].default) } else { cursor.raw() }
    }

    /// Checks that every cell is there in canonical form, at most as many as the table has columns.
    ///
    /// # Errors
    /// [`Malformed`] with what is wrong.
    pub fn check(&self, table: &Table, scratch: &mut Vec<u8>) -> Result<(), Malformed> {
        if self.create_index() > self.modify_index() {
            return Err(Malformed("a row was modified before it was created"));
        }
        let mut cursor = Cursor::new(self.cells());
        for column in &table.columns {
            if cursor.is_empty() {
                return Ok(());
            }
            cell::check(cursor.raw()?, column.kind, scratch)?;
        }
        if cursor.is_empty() {
            Ok(())
        } else {
            Err(Malformed("a row has more cells than its table has columns"))
        }
    }
}

/// Starts a row in `out`.
pub(crate) fn start(out: &mut Vec<u8>, create_index: u64, modify_index: u64) {
    out.clear();
    out.extend_from_slice(&create_index.to_be_bytes());
    out.extend_from_slice(&modify_index.to_be_bytes());
}

/// Checks a finished row against the limit.
pub(crate) fn check_size(row: &[u8]) -> Result<(), Refusal> {
    if row.len() > ROW_BYTES_MAX {
        return Err(Refusal::too_large(format!("a row is limited to {ROW_BYTES_MAX} bytes")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;
    use crate::sketch::{Tab, V, one, schema};

    #[test]
    fn trailing_columns_read_their_default() {
        let tables =
            [Tab::new(1, "t").column("a", "text").with("b", "u64", "none", V::Int(7)).column("c", "map")];
        let schema = Schema::decode(&schema(&tables)).unwrap();
        let table = schema.table(1).unwrap();
        let mut bytes = Vec::new();
        start(&mut bytes, 3, 4);
        bytes.extend_from_slice(&one("x"));
        let row = Row::new(&bytes).unwrap();
        assert_eq!((row.create_index(), row.modify_index()), (3, 4));
        assert_eq!(row.check(table, &mut Vec::new()), Ok(()));
        assert_eq!(row.cell(table, 0).unwrap(), one("x"));
        assert_eq!(row.cell(table, 1).unwrap(), one(7));
        assert_eq!(row.cell(table, 2).unwrap(), one(V::Nil));
        bytes.extend_from_slice(&[0xcc, 7]);
        assert!(Row::new(&bytes).unwrap().check(table, &mut Vec::new()).is_err(), "7 has a smaller form");
        assert!(Row::new(&bytes[..15]).is_err());
    }
}
