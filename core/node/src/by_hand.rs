//! Recovery by hand of a group that lost its quorum for good: the operator writes who is left into
//! `peers.json` of every survivor's data directory and starts them.
//!
//! ```text
//! [{"id": "n1", "address": "10.0.0.1:7000", "non_voter": false}, ...]
//! ```
//! The new members take the place of the old ones, with a number that no change in the log was made to: what
//! the lost group was about to change is void on every survivor, however far each had come.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use konsul_disk::wal::{Record, SnapshotMark};
use konsul_state::apply::Tables;
use konsul_state::keys;
use konsul_state::snapshot;
use konsul_state::store::{Store as _, Write as _};
use serde_json::Value;

use crate::group::mix;
use crate::members::{Member, Members, VOTERS_MAX};
use crate::members_codec;
use crate::options::{Backend, Options};
use crate::recovery::{Opened, words};

const NAME: &str = "peers.json";
const APPLIED: &str = "peers.json.applied";
const BYTES_MAX: u64 = 1 << 20;
/// Over every index of a log.
const BY_HAND: u64 = 1 << 63;

#[derive(Debug)]
struct Survivor {
    id: String,
    address: String,
    is_voter: bool,
}

/// Replaces the members if the operator asks for it; says so in the notes.
pub(crate) fn recover(options: &Options, opened: &mut Opened) -> Result<(), String> {
    let path = options.data_dir.join(NAME);
    if options.cluster.is_none() || options.backend == Backend::Memory || !path.exists() {
        return Ok(());
    }
    let refused = |why: String| format!("{}: {why}", path.display());
    let survivors = read(&path).map_err(refused)?;
    let members = replace(&opened.members, opened.identity.raft_id, &survivors).map_err(refused)?;
    keep(opened, &members).map_err(|why| refused(format!("it cannot be applied: {why}")))?;
    fs::rename(&path, options.data_dir.join(APPLIED)).map_err(|error| refused(error.to_string()))?;
    opened.notes.push(format!(
        "the members were replaced by {NAME}: {}",
        survivors.iter().map(|survivor| survivor.id.as_str()).collect::<Vec<_>>().join(", ")
    ));
    opened.members = members;
    Ok(())
}

fn read(path: &Path) -> Result<Vec<Survivor>, String> {
    if fs::metadata(path).map_err(words)?.len() > BYTES_MAX {
        return Err("it is longer than 1 MiB".into());
    }
    let text = fs::read_to_string(path).map_err(words)?;
    let expected = "expected a list of {\"id\": .., \"address\": .., \"non_voter\": ..}";
    let parsed: Value = serde_json::from_str(&text).map_err(|error| format!("{error}; {expected}"))?;
    let list = parsed.as_array().ok_or(expected)?;
    list.iter()
        .map(|one| {
            let text = |name| one.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
            let non_voter = one.get("non_voter").map_or(Some(false), Value::as_bool);
            match (text("id"), text("address"), non_voter) {
                (Some(id), Some(address), Some(non_voter)) => {
                    Ok(Survivor { id: id.into(), address: address.into(), is_voter: !non_voter })
                }
                _ => Err(format!("{one} is not understood; {expected}")),
            }
        })
        .collect()
}

/// The members that the operator wants; the same on every survivor.
fn replace(known: &Members, own: u64, survivors: &[Survivor]) -> Result<Members, String> {
    let mut found = Members { cluster_id: known.cluster_id, ..Members::default() };
    let mut names = BTreeSet::new();
    let mut sorted: Vec<&Survivor> = survivors.iter().collect();
    sorted.sort_by(|one, other| one.id.cmp(&other.id));
    let mut number = 0;
    for Survivor { id, address, is_voter } in sorted {
        let record = known.records.values().find(|record| record.node_id == *id);
        let record = record.ok_or_else(|| {
            let names: Vec<&str> = known.records.values().map(|record| record.node_id.as_str()).collect();
            format!("id {id:?} is not known to this node; it knows {}", names.join(", "))
        })?;
        if !names.insert(id) {
            return Err(format!("id {id:?} is there twice"));
        }
        for byte in format!("{}|{address}|{is_voter};", record.raft_id).bytes() {
            number = mix(number ^ u64::from(byte));
        }
        found.records.insert(record.raft_id, Member { address: address.clone(), ..record.clone() });
        if *is_voter {
            found.conf.voters.push(record.raft_id);
        } else {
            found.conf.learners.push(record.raft_id);
        }
    }
    if !found.contains(own) {
        return Err("this node is not in it: it would wait for the others for ever".into());
    }
    if found.conf.voters.is_empty() || found.conf.voters.len() > VOTERS_MAX {
        return Err(format!("it has {} voters, expected 1 to {VOTERS_MAX}", found.conf.voters.len()));
    }
    // Done again with the same file after another loss, it is another change.
    found.changed_at = BY_HAND | mix(number ^ known.changed_at);
    Ok(found)
}

/// In the tables, in a snapshot and in the log: whatever the next start rebuilds from has them.
fn keep(opened: &mut Opened, members: &Members) -> Result<(), String> {
    let position = opened.tables.applied();
    if position.index == 0 {
        return Err("this node holds nothing of its group yet".into());
    }
    let encoded = members_codec::encode(members);
    let mut writer = opened.store.write().map_err(words)?;
    writer.put(keys::MEMBERS, &encoded).map_err(words)?;
    writer.commit().map_err(words)?;
    let reader = opened.store.read().map_err(words)?;
    let tables = Tables::open(&reader).map_err(words)?;
    if let Some(snapshots) = &opened.snapshots {
        let mut write = |out: &mut dyn io::Write| {
            snapshot::write(&reader, &tables, &encoded, out).map_err(io::Error::other)
        };
        snapshots.save(position, &encoded, &mut write).map_err(words)?;
        opened.snapshot = position;
    }
    let mark = SnapshotMark { index: position.index, term: position.term, conf_state: encoded.into() };
    opened.wal.append(&[Record::Snapshot(mark)]).map_err(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::MemberChange;
    use crate::members::tests::member;

    fn known() -> Members {
        let mut members = Members::founded(9, member(1), 1);
        for (id, index) in [(2, 5), (3, 6)] {
            members.apply(members.changed_at, &MemberChange::Add(member(id)), index).unwrap();
        }
        members
    }

    fn survivor(id: &str, is_voter: bool) -> Survivor {
        Survivor { id: id.into(), address: format!("{id}.new:7000"), is_voter }
    }

    #[test]
    fn survivors_become_the_members_whatever_their_order() {
        let one = replace(&known(), 1, &[survivor("n1", true), survivor("n3", false)]).unwrap();
        let other = replace(&known(), 3, &[survivor("n3", false), survivor("n1", true)]).unwrap();
        assert_eq!(one, other);
        assert_eq!((one.conf.voters.clone(), one.conf.learners.clone()), (vec![1], vec![3]));
        assert_eq!((one.cluster_id, one.records[&3].address.as_str()), (9, "n3.new:7000"));
        let mut after = one.clone();
        let late = MemberChange::Promote(3);
        assert!(after.apply(known().changed_at, &late, 900).is_err(), "proposed before the loss");
        assert!(after.apply(after.changed_at, &late, 900).is_ok());
    }

    #[test]
    fn what_cannot_work_is_refused_in_words() {
        let refused = |survivors: &[Survivor]| replace(&known(), 1, survivors).unwrap_err();
        assert!(refused(&[survivor("n9", true)]).contains("it knows n1, n2, n3"));
        assert!(refused(&[survivor("n2", true)]).contains("this node is not in it"));
        assert!(refused(&[survivor("n1", false)]).contains("0 voters"));
        assert!(refused(&[survivor("n1", true), survivor("n1", true)]).contains("twice"));
    }

    #[test]
    fn the_file_is_read_with_care() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        fs::write(&path, r#"[{"id":"n1","address":"a:1"},{"id":"n2","address":"b:1","non_voter":true}]"#)
            .unwrap();
        let found = read(&path).unwrap();
        assert_eq!((found.len(), found[0].is_voter, found[1].is_voter), (2, true, false));
        for wrong in ["{", "{}", r#"[{"id":"n1"}]"#, r#"[{"id":"n1","address":"a:1","non_voter":1}]"#] {
            fs::write(&path, wrong).unwrap();
            assert!(read(&path).unwrap_err().contains("expected"), "{wrong}");
        }
    }
}
