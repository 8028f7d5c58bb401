//! Puts what was found on disk into a state that fits: the log, the tables, the snapshots, the members.

use std::sync::Arc;

use konsul_disk::wal::{HardState, LogView, Record, Recovered, SnapshotMark, Wal};
use konsul_state::apply::{ApplyError, Position, Tables};
use konsul_state::keys;
use konsul_state::snapshot;
use konsul_state::store::{Read as _, Store as _, Write as _};

use crate::backend::AnyStore;
use crate::members::{LOG_VERSION, Member, Members, RAFT_ID_END};
use crate::members_codec;
use crate::options::Options;
use crate::seams::{Disk, IdentityKeeper, NodeIdentity, SnapshotStore, StartWriter};
use crate::wire;

/// Where every new group starts: a snapshot at this position that holds nothing. An empty log at index 0
/// would make a later joiner, who is sent a snapshot, panic in the library.
pub(crate) const GENESIS: Position = Position { index: 1, term: 1 };
/// What a start reads of the log at once.
const TAIL_BYTES_MAX: u64 = 1 << 20;

/// Everything opened and in agreement.
pub(crate) struct Opened {
    pub store: Arc<AnyStore>,
    pub tables: Tables,
    pub wal: Wal,
    pub writer: StartWriter,
    pub hard_state: HardState,
    pub members: Members,
    pub snapshots: Option<Arc<dyn SnapshotStore>>,
    /// What the newest snapshot covers.
    pub snapshot: Position,
    pub keeper: Box<dyn IdentityKeeper>,
    pub identity: NodeIdentity,
    /// What the operator should know about how it was found.
    pub notes: Vec<String>,
}

/// Brings the node's state into agreement. `draw` gives random numbers.
pub(crate) fn agree(options: &Options, disk: Disk, draw: &mut dyn FnMut() -> u64) -> Result<Opened, String> {
    let Disk { store, wal: (wal, log), writer, snapshots, identity: mut keeper, mut notes } = disk;
    let known = keeper.identity();
    check_owner(options, known, &log)?;
    let identity = known.unwrap_or(NodeIdentity {
        raft_id: if options.node_id == 0 { 1 + draw() % (RAFT_ID_END - 1) } else { options.node_id },
        cluster_id: 0,
    });
    let tables = open_tables(&store, &mut notes)?;
    if log.fresh && tables.applied().index > 0 {
        return Err(format!(
            "{} has tables but no log: put its log directory back, or restore the data directory from a \
             backup",
            options.data_dir.display()
        ));
    }
    let mut place = Place { options, store: &store, wal, log: &log, identity, draw };
    let is_behind_log = !log.fresh && tables.applied().index + 1 < log.first_index;
    let tables = if tables.applied().index == 0 || is_behind_log {
        place.rebuild(snapshots.as_deref(), &mut notes)?
    } else {
        tables
    };
    let members = place.members()?;
    let Place { wal, mut identity, .. } = place;
    let hard_state = read_log(&wal, &tables)?;
    check_mode(options, identity, &members)?;
    if identity.cluster_id == 0 && !members.is_empty() {
        identity.cluster_id = if members.cluster_id == 0 { draw() } else { members.cluster_id };
    }
    if known != Some(identity) {
        // Last, after the log was begun: an identity without a log is data that got lost.
        keeper.keep(identity)?;
    }
    let listed = snapshots.as_ref().map_or(Ok(Vec::new()), |snapshots| snapshots.list()).map_err(words)?;
    // One that was received and not installed before a crash is no part of this log.
    let last_index = wal.view().last_index();
    let snapshot = listed.into_iter().find(|at| at.index <= last_index).unwrap_or(GENESIS);
    Ok(Opened {
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
    })
}

fn check_owner(options: &Options, known: Option<NodeIdentity>, log: &Recovered) -> Result<(), String> {
    let Some(known) = known else { return Ok(()) };
    let dir = options.data_dir.display();
    if options.node_id != 0 && known.raft_id != options.node_id {
        return Err(format!(
            "{dir} belongs to node {} and this is node {}: an id is never given to other data. Start it with \
             its own id, or give this node another data directory (KONSUL_DATA_DIR)",
            known.raft_id, options.node_id
        ));
    }
    // The identity is written last, after the log was begun. Without syncs a power cut may take the log and
    // leave the identity.
    if log.fresh && options.sync_writes {
        return Err(format!(
            "the log of {dir} is missing, and a node has run there: put its log directory back, or restore \
             the data directory from a backup (a snapshot alone is restored into a new directory)"
        ));
    }
    Ok(())
}

/// A lone node must not go on from a group's data by itself: the others would go on too.
fn check_mode(options: &Options, identity: NodeIdentity, members: &Members) -> Result<(), String> {
    let is_alone = members.conf.voters == [identity.raft_id] && members.conf.learners.is_empty();
    if options.cluster.is_some() || is_alone {
        return Ok(());
    }
    Err(format!(
        "{} is a node's of a cluster with {} voters: start it with KONSUL_RAFT_ENABLED=true, or restore a \
         snapshot into a new data directory",
        options.data_dir.display(),
        members.conf.voters.len()
    ))
}

/// The stored tables; damaged ones are as good as none, since snapshot and log have everything.
fn open_tables(store: &AnyStore, notes: &mut Vec<String>) -> Result<Tables, String> {
    let reader = store.read().map_err(words)?;
    match Tables::open(&reader) {
        Ok(tables) => Ok(tables),
        Err(ApplyError::Store(error)) => Err(words(error)),
        Err(error) => {
            notes.push(format!("the applied state is rebuilt from snapshot and log: {error}"));
            Ok(Tables::default())
        }
    }
}

struct Place<'o> {
    options: &'o Options,
    store: &'o AnyStore,
    wal: Wal,
    log: &'o Recovered,
    identity: NodeIdentity,
    draw: &'o mut dyn FnMut() -> u64,
}

impl Place<'_> {
    /// Rebuilds the tables from the newest snapshot that reads and that the log goes on from. In a directory
    /// that holds nothing but a snapshot (a restored backup) the log begins behind it, in a new group.
    fn rebuild(
        &mut self,
        snapshots: Option<&dyn SnapshotStore>,
        notes: &mut Vec<String>,
    ) -> Result<Tables, String> {
        for position in snapshots.map_or(Ok(Vec::new()), |snapshots| snapshots.list()).map_err(words)? {
            let Some(snapshots) = snapshots else { break };
            match self.load(snapshots, position) {
                Ok(tables) => return Ok(tables),
                Err(why) => notes.push(format!("{} does not read: {why}", snapshots.name(position))),
            }
        }
        if self.log.fresh {
            self.begin()?;
            return self.empty();
        }
        // The mark's members are those of the beginning only if nobody has changed them since.
        let is_whole = self.log.first_index <= GENESIS.index + 1;
        let is_first = members_codec::decode(&self.log.snapshot.conf_state)
            .is_none_or(|members| members.changed_at <= GENESIS.index);
        if is_whole && is_first {
            return self.empty();
        }
        Err(format!(
            "no snapshot can be read and the log starts at entry {}: restore the snapshots directory from a \
             backup, or (with other nodes in the cluster) empty the data directory and join anew{}",
            self.log.first_index,
            notes.iter().map(|note| format!("; {note}")).collect::<String>()
        ))
    }

    fn load(&mut self, snapshots: &dyn SnapshotStore, position: Position) -> Result<Tables, String> {
        let log = self.log;
        let is_other = self.wal.view().term(position.index).is_ok_and(|term| term != position.term);
        // A group's node was about to begin its log behind a peer's snapshot: that is as good as its own.
        let is_ahead = !log.fresh
            && (position.index > log.last_index || is_other)
            && self.options.cluster.is_some()
            && self.options.sync_writes;
        if !log.fresh
            && !is_ahead
            && (position.index + 1 < log.first_index || position.index > log.last_index)
        {
            return Err(format!(
                "the log has {} to {} and does not go on from it",
                log.first_index, log.last_index
            ));
        }
        if !log.fresh && !is_ahead && is_other {
            // Without syncs a power cut may shorten the log behind a snapshot, and it grew past it again.
            return Err(format!("the log has another entry {}", position.index));
        }
        let mut content = snapshots.open(position).map_err(words)?;
        let mut writer = self.store.write().map_err(words)?;
        let (tables, meta) = snapshot::read(&mut content, &mut writer).map_err(words)?;
        let stored = if log.fresh {
            members_codec::encode(&self.found(tables.applied())?)
        } else if members_codec::decode(&meta).is_some() {
            meta
        } else {
            return Err("its list of members is not readable by this version of Konsul".into());
        };
        if is_ahead {
            self.install(position, stored.clone())?;
        }
        writer.put(keys::MEMBERS, &stored).map_err(words)?;
        writer.commit().map_err(words)?;
        Ok(tables)
    }

    /// The log begins anew behind a snapshot that it does not reach; what was voted stays.
    fn install(&mut self, position: Position, members: Vec<u8>) -> Result<(), String> {
        let mut state = self.wal.view().hard_state();
        if state.term < position.term {
            state = HardState { term: position.term, vote: 0, commit: 0 };
        }
        state.commit = position.index;
        let mark = SnapshotMark { index: position.index, term: position.term, conf_state: members.into() };
        self.wal.append(&[Record::Install(mark), Record::HardState(state)]).map_err(words)
    }

    /// A fresh directory: a lone node is a group at once, a member of a group waits to be told.
    fn begin(&mut self) -> Result<(), String> {
        if self.options.cluster.is_some() {
            // From now on the log is not fresh, so that an identity without a log is known as a loss.
            self.wal.append(&[Record::HardState(HardState::default())]).map_err(words)
        } else {
            self.found(GENESIS).map(drop)
        }
    }

    /// Begins the log of a new group behind `position`.
    fn found(&mut self, position: Position) -> Result<Members, String> {
        let members = match founder(self.options, self.identity.raft_id) {
            Some(founder) => {
                self.identity.cluster_id = (self.draw)().max(1);
                Members::founded(self.identity.cluster_id, founder, position.index)
            }
            None => Members::alone(self.identity.raft_id),
        };
        self.wal.append(&genesis(position, &members)).map_err(words)?;
        Ok(members)
    }

    /// An empty store: everything is replayed from the log.
    fn empty(&self) -> Result<Tables, String> {
        let mut writer = self.store.write().map_err(words)?;
        writer.clear().map_err(words)?;
        writer.commit().map_err(words)?;
        Ok(Tables::default())
    }

    /// The members as of what is applied.
    fn members(&self) -> Result<Members, String> {
        let unreadable = "the list of members is not readable by this version of Konsul";
        let reader = self.store.read().map_err(words)?;
        if let Some(stored) = reader.get(keys::MEMBERS).map_err(words)? {
            return members_codec::decode(stored).ok_or_else(|| unreadable.into());
        }
        let mark = self.wal.view().snapshot();
        if mark.index == 0 {
            return Ok(Members::default());
        }
        members_codec::decode(&mark.conf_state).ok_or_else(|| unreadable.into())
    }
}

/// This node as the first member of a group; `None` for a lone node.
pub(crate) fn founder(options: &Options, raft_id: u64) -> Option<Member> {
    let cluster = options.cluster.as_ref()?;
    Some(Member {
        raft_id,
        node_id: cluster.node_name.clone(),
        address: cluster.address().into(),
        http_address: cluster.http_addr.clone(),
        zone: cluster.zone.clone(),
        version: cluster.version.clone(),
        log_version: LOG_VERSION,
        read_only: cluster.read_only,
    })
}

/// The records that a group's log begins with.
pub(crate) fn genesis(position: Position, members: &Members) -> [Record; 2] {
    let hard_state = HardState { term: position.term, vote: 0, commit: position.index };
    let conf_state = members_codec::encode(members).into();
    let mark = SnapshotMark { index: position.index, term: position.term, conf_state };
    [Record::Install(mark), Record::HardState(hard_state)]
}

/// The log's hard state, after a check that the tables belong to it.
fn read_log(wal: &Wal, tables: &Tables) -> Result<HardState, String> {
    let view = wal.view();
    let applied = tables.applied();
    let last = view.last_index();
    if applied.index > last {
        return Err(format!(
            "the tables hold log entry {} and the log ends at {last}: acknowledged writes are missing from \
             the log. Restore the data directory from a backup",
            applied.index
        ));
    }
    if applied.index >= GENESIS.index && view.term(applied.index).is_ok_and(|term| term != applied.term) {
        return Err(format!(
            "the tables and the log differ about entry {}: they are not of one node. Restore the data \
             directory from a backup",
            applied.index
        ));
    }
    Ok(view.hard_state())
}

/// Up to where the log behind `applied` proves itself committed; 0: it proves nothing.
///
/// A leader proposes a change of members only when the one before is applied, so all changes in the log but
/// the last are committed. The consensus library takes members from applied changes. A node that forgot how
/// far was committed would go by members from long ago, and find a majority among them that is none any
/// more.
pub(crate) fn proven_commit(log: &LogView, applied: u64) -> Result<u64, String> {
    let (mut proven, mut newest) = (0, 0);
    let mut next = (applied + 1).max(log.first_index());
    while next <= log.last_index() {
        for entry in log.entries(next, log.last_index() + 1, TAIL_BYTES_MAX).map_err(words)? {
            if entry.kind == wire::ENTRY_MEMBERS {
                (proven, newest) = (newest, entry.index);
            }
            next = entry.index + 1;
        }
    }
    Ok(proven)
}

pub(crate) fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
