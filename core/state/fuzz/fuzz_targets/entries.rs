//! Entries of any bytes, one after the other, on a schema that uses everything: nothing panics, a validated
//! entry is never corrupt, and at the end all index entries are what the rows say.
#![no_main]

#[path = "../../tests/sketch/mod.rs"]
mod sketch;

use konsul_state::apply::ApplyError;
use konsul_state::entry;
use konsul_state::store::{Store, Write};
use libfuzzer_sys::fuzz_target;
use sketch::*;

fn tables() -> Vec<Tab> {
    let gone = vec![add(3, V::Myself, 0, 1, Some(2)), delete(2, V::Myself)];
    vec![
        Tab::new(1, "parents").indexed("name", "text", "unique").column("until_ms", "u64").expires(1),
        Tab::new(2, "children")
            .column("parent", "text")
            .indexed("tags", "map", "each")
            .points_at(0, 1, &gone),
        Tab::new(3, "ring").with("n", "u64", "single", V::Int(0)).column("note", "json").keep(2),
    ]
}

// Each entry: its length in one byte, its kind in one, its body.
fuzz_target!(|bytes: &[u8]| {
    let mut replica = Replica::new(&tables());
    let mut rest = bytes;
    while let Some((&[length, kind], after)) = rest.split_first_chunk::<2>() {
        let (body, after) = after.split_at(after.len().min(usize::from(length)));
        rest = after;
        let kind = kind % 5;
        let valid = matches!(kind, 0 | 4) && entry::validate(&replica.tables.schema(), body).is_ok();
        let bytes = [&u64::from(length).to_be_bytes()[..], &[kind], body].concat();
        let mut w = replica.store.write().unwrap();
        let mut tables = replica.tables.clone();
        match tables.apply(&mut w, &bytes, &mut replica.changes) {
            Ok(_) => {
                tables.finish(&mut w, tables.applied()).unwrap();
                w.commit().unwrap();
                replica.tables = tables;
            }
            Err(ApplyError::Corrupt(_)) => assert!(!valid, "validated, and yet corrupt"),
            Err(ApplyError::Store(error)) => panic!("{error}"),
        }
    }
    assert_eq!(Replica::restore(&replica.snapshot()).unwrap().dump(), replica.dump());
});
