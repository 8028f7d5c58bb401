//! From what was recovered to a driver: a lone node leads before it answers, a member of a group begins to
//! listen.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use konsul_disk::wal::HardState as LoggedState;
use konsul_state::apply::Outcome;
use konsul_state::entry::Kind;
use konsul_state::schema::Schema;
use raft::eraftpb::HardState;

use crate::apply::Machine;
use crate::by_hand;
use crate::clock::Clocks;
use crate::code;
use crate::completions::Completions;
use crate::disk_guard::DiskGuard;
use crate::driver::{Driver, Parts};
use crate::forming::new_raft;
use crate::group::{Around, Group, mix};
use crate::options::{Backend, Options};
use crate::post::Post;
use crate::recovery::{self, Opened};
use crate::seams::Seams;
use crate::shared::{GroupState, Shared};
use crate::snapshotter::Snapshotter;
use crate::storage::{LogStorage, to_logged};
use crate::waiting::Work;

/// Without progress for this long, a start that waits for disk space gives up.
const PATIENCE_MS: u64 = 10_000;

/// A node ready to run.
pub(crate) struct Started {
    pub shared: Arc<Shared>,
    pub notes: Vec<String>,
    pub driver: Driver,
}

/// Puts a node together on its seams. A lone one leads when this returns; a member of a group has not said a
/// word yet.
pub(crate) fn start(
    options: Options,
    seams: Seams,
    completions: Arc<Completions>,
    schema: &[u8],
) -> Result<Started, String> {
    options.validate()?;
    let wanted = Schema::decode(schema);
    let wanted = wanted.map_err(|refusal| format!("the schema is not valid: {}", refusal.message))?;
    let mut started = assemble(options, seams, completions, wanted)?;
    if started.driver.group.is_alone {
        // Should it fail, the drop of each part ends its thread and frees the data directory.
        lead(&mut started.driver)?;
    }
    Ok(started)
}

fn assemble(
    options: Options,
    seams: Seams,
    completions: Arc<Completions>,
    wanted: Schema,
) -> Result<Started, String> {
    let Seams { clock, tasks, disk, connect, seed } = seams;
    let mut drawn = seed;
    let mut draw = || {
        drawn = mix(drawn);
        drawn
    };
    let mut opened = recovery::agree(&options, disk, &mut draw)?;
    by_hand::recover(&options, &mut opened)?;
    let Opened {
        store,
        tables,
        wal,
        writer,
        hard_state,
        members,
        snapshots,
        snapshot,
        keeper,
        identity,
        notes,
    } = opened;
    let applied = tables.applied().index;
    let writer = writer(wal).map_err(|error| format!("no thread for the log: {error}"))?;
    let proven = recovery::proven_commit(&writer.view(), applied)?;
    let hard_state = to_library(hard_state, applied.max(proven));
    let handed_state = to_logged(&hard_state);
    let storage = LogStorage::new(writer.view(), hard_state, members.conf.clone(), options.append_entries());
    let raft =
        new_raft(&options.raft(identity.raft_id, applied), storage).map_err(|error| error.to_string())?;
    let watched = (options.backend == Backend::Durable).then_some(options.data_dir.as_path());
    let guard = DiskGuard::new(watched, options.disk_reserve_bytes);
    let machine = Machine::new(store.clone(), tables.clone(), members.clone());
    let is_alone = options.cluster.is_none();
    let clock = Clocks::new(clock);
    let grace_until_ms = clock.now_ms() + options.promise_ms();
    let state = (members.clone(), tables, wanted.clone());
    let shared = Arc::new(Shared::new(options, clock, completions, identity, state));
    shared.gauges.snapshot_index.store(snapshot.index, Relaxed);
    let peers = connect(Post { shared: shared.clone(), snapshots: snapshots.clone() })?;
    let mut group =
        Group::new(is_alone, members, identity, handed_state, seed, Around { keeper, peers, tasks });
    (group.no_votes_before_ms, group.grace_until_ms) = (grace_until_ms, grace_until_ms);
    let state = group.state;
    shared.gauges.group.store(state as u8, Relaxed);
    let snapshotter = Snapshotter::new(snapshots, store, snapshot);
    let mut driver = Driver::new(Parts {
        shared: shared.clone(),
        raft,
        machine,
        writer,
        guard,
        snapshotter,
        group,
        wanted,
    });
    driver.offer_newest();
    driver.draw();
    if !is_alone && state == GroupState::Formed && driver.group.members.conf.voters == [identity.raft_id] {
        // The only voter has nobody to wait for.
        driver.raft.campaign().map_err(|error| error.to_string())?;
    }
    Ok(Started { shared, notes, driver })
}

/// The stored state as the library's. The commit index is written lazily, so what is applied may be ahead of
/// it.
fn to_library(stored: LoggedState, applied: u64) -> HardState {
    let commit = stored.commit.max(applied);
    HardState { term: stored.term, vote: stored.vote, commit, ..HardState::default() }
}

/// Elects this node, replays the log's tail, and brings tables and leases up to now.
pub(crate) fn lead(driver: &mut Driver) -> Result<(), String> {
    driver.raft.campaign().map_err(|error| error.to_string())?;
    turn_until(driver, "replaying the log", Driver::is_caught_up)?;
    let (stored, wanted) = (driver.machine.tables().schema(), driver.wanted.clone());
    if stored.encode() != wanted.encode() {
        install(driver, &stored, &wanted)?;
    }
    driver.grant_leases()?;
    driver.next_expiry_ms = driver.machine.next_expiry_ms().map_err(|error| error.to_string())?;
    // On a full disk nothing can be expired: it serves what it has, as a running node does.
    turn_until(driver, "expiring what was due", |driver| {
        driver.is_idle() && (!driver.is_pulse_due() || driver.is_refusing())
    })
}

/// Takes turns until `is_done`, as long as the node gets on.
fn turn_until(driver: &mut Driver, what: &str, is_done: impl Fn(&Driver) -> bool) -> Result<(), String> {
    let clock = driver.shared.clock.clone();
    let mut seen = (driver.raft.raft.raft_log.applied, clock.now_ms());
    driver.turn_without_waiting().map_err(|broken| broken.to_string())?;
    while !is_done(driver) {
        driver.turn().map_err(|broken| broken.to_string())?;
        let now = (driver.raft.raft.raft_log.applied, clock.now_ms());
        if now.0 != seen.0 {
            seen = now;
        } else if now.1 - seen.1 > PATIENCE_MS && driver.is_full(now.1) {
            return Err(format!(
                "{what} needs space and the disk of the data directory is full: free some and start again"
            ));
        }
    }
    Ok(())
}

fn install(driver: &mut Driver, stored: &Schema, wanted: &Schema) -> Result<(), String> {
    let refused = |message: &str| {
        format!(
            "the data directory holds tables that this version's schema cannot follow: {message}. Start \
             the version \
             that wrote them, or one that is newer"
        )
    };
    Schema::check_migration(stored, wanted).map_err(|refusal| refused(&refusal.message))?;
    driver.propose_own(Work::Schema, Kind::Define, wanted.encode());
    turn_until(driver, "installing the schema", |driver| driver.schema_outcome.is_some())?;
    match driver.schema_outcome.take() {
        Some(Outcome::Applied { .. }) => Ok(()),
        Some(Outcome::Refused(refusal)) if refusal.code == code::DISK_FULL => {
            Err(format!("the schema cannot be installed: {}", refusal.message))
        }
        Some(Outcome::Refused(refusal)) => Err(refused(&refusal.message)),
        other => Err(format!("the schema was not installed: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::Calls;
    use crate::inbox::Proposal;
    use crate::node::open_seams;
    use crate::options::tests::memory;
    use crate::waiting::Waiter;
    use bytes::Bytes;
    use konsul_state::entry;

    /// One table with an expiry: id 1, column 0 `until` u64.
    fn schema() -> Vec<u8> {
        let mut out = vec![0x91, 0x84];
        let text = |out: &mut Vec<u8>, text: &str| {
            out.push(0xa0 | text.len() as u8);
            out.extend_from_slice(text.as_bytes());
        };
        for (name, value) in [("id", &b"\x01"[..]), ("name", b"\xa1t"), ("expires", b"\x00")] {
            text(&mut out, name);
            out.extend_from_slice(value);
        }
        text(&mut out, "columns");
        out.extend_from_slice(&[0x91, 0x82]);
        for part in ["name", "until", "kind", "u64"] {
            text(&mut out, part);
        }
        out
    }

    fn begin(options: Options) -> Started {
        let (seams, ..) =
            open_seams(&options, &Arc::new(Calls::new(Arc::new(Completions::new().unwrap())))).unwrap();
        start(options, seams, Arc::new(Completions::new().unwrap()), &schema()).unwrap()
    }

    fn queue(driver: &mut Driver, key: &str, cells: &[u8]) {
        let waiter = Waiter { ticket: 1, deadline_ms: u64::MAX, bytes: 0, work: Work::Schema };
        let body = Bytes::from(entry::put_cases(1, key.as_bytes(), cells, None));
        driver.queue.push_back(Proposal { waiter, kind: Kind::Cases, body });
    }

    fn finish(driver: &mut Driver) {
        driver.turn_without_waiting().unwrap();
        while !driver.is_idle() {
            driver.turn().unwrap();
        }
    }

    #[test]
    fn a_full_disk_with_a_due_row_starts_and_sleeps() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            backend: Backend::Durable,
            data_dir: dir.path().into(),
            map_max_bytes: 1 << 26,
            ..memory()
        };
        let mut first = begin(options.clone());
        let mut cells = vec![0x91, 0xcf];
        cells.extend_from_slice(&(first.shared.clock.wall_ms() + 50).to_be_bytes());
        queue(&mut first.driver, "brief", &cells);
        finish(&mut first.driver);
        drop(first);
        let Started { mut driver, .. } = begin(Options { disk_reserve_bytes: 1 << 60, ..options });
        while !driver.is_pulse_due() {
            driver.turn().unwrap();
        }
        driver.turn_without_waiting().unwrap();
        assert_eq!(driver.machine.tables().count(1), 1, "there is no room for its expiry");
        let now_ms = driver.shared.clock.now_ms();
        assert!(driver.wake_ms(now_ms).is_some_and(|at_ms| at_ms > now_ms), "it does not spin");
        drop(driver);
    }

    #[test]
    fn one_append_takes_a_bounded_part_of_a_long_queue() {
        let mut driver = begin(memory()).driver;
        let wide = vec![b'k'; 1_000];
        let key = String::from_utf8(wide).unwrap();
        for _ in 0..80_000 {
            queue(&mut driver, &key, &[0x90]);
        }
        driver.turn_without_waiting().unwrap();
        assert!(!driver.queue.is_empty() && driver.is_appending());
        finish(&mut driver);
        assert_eq!(driver.machine.tables().index(), 80_000);
    }
}
