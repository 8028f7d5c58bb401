//! What clients write: a key-value row, and beside it, in the same entry, a line in a ledger that counts how
//! often that request was applied.

use std::collections::BTreeMap;
use std::sync::Arc;

use konsul_state::msgpack::{Cursor, write_array, write_bytes, write_map, write_text, write_unsigned};
use konsul_state::read::{self, Query};
use konsul_state::row::Row;
use konsul_state::schema::Schema;
use konsul_state::store::Read;
use konsul_views::{Form, Spec};

use crate::history::Kind;

/// Key to value.
const KV: u16 = 1;
/// Request to the number of times it was applied.
const LEDGER: u16 = 2;
/// Rows that expire by themselves, so that the leader's own entries are among the clients'.
const TIMED: u16 = 3;
/// How long such a row stays.
const TIMED_MS: i64 = 300;

const GUARD_EXISTS: u64 = 0;
const GUARD_ABSENT: u64 = 1;
const GUARD_AT: u64 = 2;
const OP_PUT: u64 = 0;
const OP_ADD: u64 = 2;
const OP_DELETE: u64 = 3;

/// One write as a client means it.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Not [`Kind::Get`].
    pub kind: Kind,
    /// Of which key.
    pub key: String,
    /// The value of a put or cas.
    pub value: String,
    /// The condition of a cas.
    pub expect_index: u64,
    /// Names the request in the ledger.
    pub request: String,
    /// It also writes a row that expires.
    pub is_timed: bool,
}

/// The tables of the simulated cluster, encoded as a schema.
pub fn schema() -> Vec<u8> {
    let mut out = Vec::new();
    write_array(&mut out, 3);
    table(&mut out, KV, "kv", "value", "text", false);
    table(&mut out, LEDGER, "ledger", "times", "u64", false);
    table(&mut out, TIMED, "timed", "until", "u64", true);
    out
}

/// A watch of each table: its id, what is asked for, and how it reads.
pub fn watches() -> [(u16, Spec, Option<Arc<Form>>); 3] {
    [KV, LEDGER, TIMED].map(|table| {
        let spec = Spec {
            table,
            separator: b'/',
            pattern: "**".into(),
            wheres: Vec::new(),
            renewals: false,
            coalesce: false,
            // So few that it is often behind, and goes on from the ring.
            buffer: 3,
        };
        let kinds = ["created", "updated", "deleted", "lapsed", "renewed"];
        let form = Form::new(table, kinds, &[("key", -1, 0), ("row", 0, 0)], &[("old", 0, 0)], "");
        (table, spec, form.ok().map(Arc::new))
    })
}

fn table(out: &mut Vec<u8>, id: u16, name: &str, column: &str, kind: &str, expires: bool) {
    write_map(out, if expires { 4 } else { 3 });
    write_text(out, b"id");
    write_unsigned(out, u64::from(id));
    write_text(out, b"name");
    write_text(out, name.as_bytes());
    if expires {
        write_text(out, b"expires");
        write_unsigned(out, 0);
    }
    write_text(out, b"columns");
    write_array(out, 1);
    write_map(out, 2);
    for (label, text) in [("name", column), ("kind", kind)] {
        write_text(out, label.as_bytes());
        write_text(out, text.as_bytes());
    }
}

/// A guard or op up to its row.
fn begin(out: &mut Vec<u8>, members: usize, code: u64, table: u16, key: &str) {
    write_array(out, members);
    write_unsigned(out, code);
    write_unsigned(out, u64::from(table));
    write_bytes(out, key.as_bytes());
}

/// The entry of a wish: two cases, one for a request that is new to the ledger, one that would show it being
/// applied again.
pub fn cases(wish: &Wish) -> Vec<u8> {
    let mut out = Vec::new();
    write_array(&mut out, 2);
    for is_again in [true, false] {
        write_array(&mut out, 2);
        write_guards(&mut out, wish, is_again);
        write_ops(&mut out, wish, is_again);
    }
    out
}

fn write_guards(out: &mut Vec<u8>, wish: &Wish, is_again: bool) {
    write_array(out, if wish.kind == Kind::Put { 1 } else { 2 });
    // The row's own guard is first: a conflict tells of the first that fails.
    match (wish.kind, wish.expect_index) {
        (Kind::Cas, 0) => begin(out, 3, GUARD_ABSENT, KV, &wish.key),
        (Kind::Cas, index) => {
            begin(out, 4, GUARD_AT, KV, &wish.key);
            write_unsigned(out, index);
        }
        (Kind::Delete, _) => begin(out, 3, GUARD_EXISTS, KV, &wish.key),
        (Kind::Put | Kind::Get, _) => {}
    }
    begin(out, 3, if is_again { GUARD_EXISTS } else { GUARD_ABSENT }, LEDGER, &wish.request);
}

fn write_ops(out: &mut Vec<u8>, wish: &Wish, is_again: bool) {
    write_array(out, 2 + usize::from(wish.is_timed));
    if wish.kind == Kind::Delete {
        begin(out, 3, OP_DELETE, KV, &wish.key);
    } else {
        begin(out, 4, OP_PUT, KV, &wish.key);
        write_array(out, 1);
        write_text(out, wish.value.as_bytes());
    }
    if is_again {
        begin(out, 6, OP_ADD, LEDGER, &wish.request);
        write_unsigned(out, 0);
        write_unsigned(out, 1);
        out.push(0xc0);
    } else {
        begin(out, 4, OP_PUT, LEDGER, &wish.request);
        write_array(out, 1);
        write_unsigned(out, 1);
    }
    if wish.is_timed {
        begin(out, 4, OP_PUT, TIMED, &wish.request);
        write_array(out, 1);
        // The placeholder for the entry's own time plus so much.
        out.extend_from_slice(&[0xc7, 8, 2]);
        out.extend_from_slice(&TIMED_MS.to_be_bytes());
    }
}

/// The value and modify_index of a key.
///
/// # Errors
/// What the store says, or that the row is not one of ours.
pub fn get(store: &impl Read, key: &str) -> Result<Option<(String, u64)>, String> {
    let Some(bytes) = read::get(store, KV, key.as_bytes()).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let row = Row::new(bytes).map_err(|error| error.to_string())?;
    let value = Cursor::new(row.cells()).text().map_err(|error| error.to_string())?.to_owned();
    Ok(Some((value, row.modify_index())))
}

/// How often each request was applied.
///
/// # Errors
/// What the store says.
pub fn ledger(store: &impl Read, schema: &Schema) -> Result<BTreeMap<String, u64>, String> {
    let mut times = BTreeMap::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let query = Query {
            table: LEDGER,
            prefix: b"",
            filters: &[],
            after: after.as_deref(),
            limit: read::SCAN_ROWS_MAX,
        };
        let mut visit = |key: &[u8], row: &[u8]| {
            let row = Row::new(row)?;
            times.insert(String::from_utf8_lossy(key).into_owned(), Cursor::new(row.cells()).unsigned()?);
            Ok(())
        };
        after = read::scan(store, schema, &query, &mut visit).map_err(|error| error.to_string())?;
        if after.is_none() {
            return Ok(times);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use konsul_state::apply::{Outcome, Tables};
    use konsul_state::entry;
    use konsul_state::memory::Memory;
    use konsul_state::store::{Store as _, Write as _};

    fn apply(tables: &mut Tables, store: &Memory, kind: entry::Kind, body: &[u8]) -> Outcome {
        let mut bytes = Vec::new();
        entry::encode(1_000, kind, body, &mut bytes);
        let mut writer = store.write().unwrap();
        let outcome = tables.apply(&mut writer, &bytes, &mut Vec::new()).unwrap();
        writer.commit().unwrap();
        outcome
    }

    #[test]
    fn the_engine_understands_every_wish_and_the_ledger_counts() {
        let (mut tables, store) = (Tables::default(), Memory::new());
        apply(&mut tables, &store, entry::Kind::Define, &schema());
        let wish = |kind, expect_index, request: &str| Wish {
            kind,
            key: "a".into(),
            value: request.into(),
            expect_index,
            request: request.into(),
            is_timed: kind == Kind::Put,
        };
        let mut run = |wish: &Wish| {
            let body = cases(wish);
            entry::validate(&tables.schema(), &body).unwrap();
            apply(&mut tables, &store, entry::Kind::Cases, &body)
        };
        let conflict = |current| Outcome::Conflict { current, key: b"a".to_vec() };
        assert_eq!(run(&wish(Kind::Delete, 0, "d0")), conflict(0));
        assert!(matches!(run(&wish(Kind::Cas, 0, "c1")), Outcome::Applied { case: 1, .. }));
        let at = get(&store.read().unwrap(), "a").unwrap().unwrap();
        assert_eq!(at.0, "c1");
        assert_eq!(run(&wish(Kind::Cas, 0, "c2")), conflict(at.1));
        assert_eq!(run(&wish(Kind::Cas, at.1 + 1, "c3")), conflict(at.1));
        assert!(matches!(run(&wish(Kind::Cas, at.1, "c4")), Outcome::Applied { .. }));
        assert!(matches!(run(&wish(Kind::Put, 0, "p")), Outcome::Applied { case: 1, .. }));
        assert!(matches!(run(&wish(Kind::Put, 0, "p")), Outcome::Applied { case: 0, .. }));
        assert!(matches!(run(&wish(Kind::Delete, 0, "d1")), Outcome::Applied { .. }));
        assert_eq!(get(&store.read().unwrap(), "a").unwrap(), None);
        let times = ledger(&store.read().unwrap(), &tables.schema()).unwrap();
        let times: Vec<(&str, u64)> = times.iter().map(|(name, times)| (name.as_str(), *times)).collect();
        assert_eq!(times, [("c1", 1), ("c4", 1), ("d1", 1), ("p", 2)]);
    }
}
