//! Snapshots between nodes: sent beside the log to who is too far behind, and taken in.
//!
//! A received one is checked to its end before it counts. Then it takes the place of the older files, the log
//! begins anew behind it, and its rows go into the tables beside the driver, while readers are kept out.
//! After a crash between these steps the start finds tables that are behind the log and rebuilds them from
//! the file.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use konsul_disk::wal::SnapshotMark;
use konsul_state::apply::{Position, Tables};
use konsul_state::keys;
use konsul_state::snapshot::{self, SnapshotError};
use konsul_state::store::{StoreError, Write as _};
use raft::eraftpb::{Message, MessageType, Snapshot};
use raft::{Ready, SnapshotStatus};

use crate::backend::AnyStore;
use crate::driver::{Broken, Driver, RETRY_MS};
use crate::group::{Pause, Shipping};
use crate::inbox::Event;
use crate::members::Members;
use crate::members_codec;
use crate::seams::{Shipment, SnapshotStore};
use crate::stepwise::Stepwise;
use crate::storage::Shippable;
use crate::wire::SnapshotHeader;

/// What became of an installed snapshot's way into the tables.
#[derive(Debug)]
pub(crate) enum Loaded {
    /// They hold it.
    Done(Box<Tables>),
    /// No space; the same file may be tried again.
    Full,
    /// It cannot be.
    Failed(String),
}

impl Driver {
    /// Sends the snapshot that the library means.
    pub(crate) fn ship(&mut self, message: &Message) {
        let to = message.to;
        let metadata = message.get_snapshot().get_metadata();
        let position = Position { index: metadata.index, term: metadata.term };
        let newest = self.raft.store().newest.clone().filter(|newest| newest.position == position);
        let content = self.snapshotter.store_of_snapshots().zip(newest).and_then(|(snapshots, newest)| {
            // A newer one may just have taken its place: the library asks again.
            snapshots.open(position).ok().map(|content| (content, newest))
        });
        let Some((content, newest)) = content else {
            self.raft.report_snapshot(to, SnapshotStatus::Failure);
            return;
        };
        let Shippable { members, bytes: total_bytes, .. } = newest;
        let term = self.raft.raft.term;
        let header = SnapshotHeader { from: self.raft.raft.id, to, term, position, total_bytes, members };
        self.group.shipping.insert(to, Shipping { position, is_sent: false, sent_at_ms: 0 });
        self.shared.metrics.snapshots_sent.fetch_add(1, Relaxed);
        self.group.peers.ship(to, Shipment { header: header.encode(), content, total_bytes });
    }

    /// What became of a snapshot on its way to a peer.
    pub(crate) fn finish_shipment(&mut self, to: u64, is_ok: bool, now_ms: u64) {
        let Some(shipping) = self.group.shipping.get_mut(&to) else { return };
        if is_ok {
            (shipping.is_sent, shipping.sent_at_ms) = (true, now_ms);
            self.raft.report_snapshot(to, SnapshotStatus::Finish);
        } else {
            self.group.shipping.remove(&to);
            self.raft.report_snapshot(to, SnapshotStatus::Failure);
        }
    }

    /// From where on the log must stay for those who are being sent a snapshot.
    pub(crate) fn shipped_from(&mut self, now_ms: u64) -> Option<u64> {
        let (raft, limit_ms) = (&self.raft.raft, 10 * self.shared.options.election_ms);
        self.group.shipping.retain(|to, shipping| {
            let has_it = raft.prs().get(*to).is_none_or(|peer| peer.matched >= shipping.position.index);
            let is_silent = shipping.is_sent && now_ms > shipping.sent_at_ms + limit_ms;
            !has_it && !is_silent
        });
        self.group.shipping.values().map(|shipping| shipping.position.index).min()
    }

    /// A peer's snapshot is here: the library decides whether this node needs it.
    pub(crate) fn take_snapshot(&mut self, from: u64, header: &[u8], now_ms: u64) {
        let Some(header) = SnapshotHeader::decode(header) else { return };
        let Some(snapshots) = self.snapshotter.store_of_snapshots() else { return };
        let own = self.raft.raft.id;
        let is_foreign = ![0, self.group.identity.cluster_id].contains(&header.members.cluster_id);
        let is_busy = self.group.is_deaf() || self.group.installing.is_some();
        let is_late = is_busy || is_foreign || self.is_strange(from, now_ms);
        if is_late || header.from != from || header.to != own || !header.members.contains(own) {
            snapshots.discard(header.position);
            return;
        }
        let mut content = Snapshot::default();
        let metadata = content.mut_metadata();
        (metadata.index, metadata.term) = (header.position.index, header.position.term);
        metadata.set_conf_state(header.members.conf.clone());
        let mut message = Message { from, to: own, term: header.term, ..Message::default() };
        message.set_msg_type(MessageType::MsgSnapshot);
        message.set_snapshot(content);
        let _ = self.raft.step(message);
        self.note_leader_heard(from, header.term, 0, now_ms);
        let is_taken = self.raft.snap().is_some_and(|taken| {
            let metadata = taken.get_metadata();
            (metadata.index, metadata.term) == (header.position.index, header.position.term)
        });
        if is_taken {
            self.group.received = Some(header);
        } else {
            snapshots.discard(header.position);
        }
    }

    /// The library has taken a snapshot: its file takes its place, and the log is to begin behind it.
    pub(crate) fn begin_install(&mut self, ready: &Ready, number: u64) -> Result<SnapshotMark, Broken> {
        let lost = || Broken::Apply("a snapshot was taken that nobody sent".into());
        let header = self.group.received.take().ok_or_else(lost)?;
        let metadata = ready.snapshot().get_metadata();
        if metadata.index != header.position.index {
            return Err(lost());
        }
        let snapshots = self.snapshotter.store_of_snapshots().ok_or_else(lost)?;
        snapshots.accept(header.position).map_err(|error| Broken::Apply(error.to_string()))?;
        // The snapshot covers them.
        self.committed.clear();
        self.committed_bytes = 0;
        self.retry_apply_at_ms = None;
        let Position { index, term } = header.position;
        let conf_state = members_codec::encode(&header.members).into();
        self.group.pause = Some(Pause::Install { header, ready: number });
        Ok(SnapshotMark { index, term, conf_state })
    }

    /// The log begins behind the snapshot: the library may go on, the tables follow.
    pub(crate) fn land_install(&mut self, now_ms: u64) -> Result<(), Broken> {
        let Some(Pause::Install { header, .. }) = self.group.pause.take() else { return Ok(()) };
        self.raft.advance_apply_to(header.position.index);
        self.shared.gauges.is_installing.store(true, Relaxed);
        self.shared.gauges.loads.fetch_add(1, SeqCst);
        *self.shared.leases.lock() = Default::default();
        self.snapshotter.note_installed(header.position);
        self.adopt_members(header.members.clone());
        self.group.installing = Some((header, Some(now_ms)));
        Ok(())
    }

    /// Begins to load an installed snapshot, at first or again.
    pub(crate) fn load_if_due(&mut self, now_ms: u64) -> Result<(), Broken> {
        let Some((header, at_ms)) = &mut self.group.installing else { return Ok(()) };
        if at_ms.is_none_or(|at_ms| now_ms < at_ms) || self.snapshotter.is_running() {
            return Ok(());
        }
        *at_ms = None;
        let (position, members) = (header.position, header.members.clone());
        let Some(snapshots) = self.snapshotter.store_of_snapshots() else { return Ok(()) };
        let (shared, store) = (self.shared.clone(), self.snapshotter.store());
        let work = move || {
            let loaded = load(&*snapshots, position, &members, &store);
            // A closed inbox means that the node stopped: the next start does it.
            let _ = shared.inbox.send(Event::Loaded(loaded));
        };
        let spawned = self.group.tasks.spawn("install", Box::new(work));
        spawned.map_err(|error| Broken::Apply(format!("no thread to install a snapshot: {error}")))
    }

    /// When to try again to load.
    pub(crate) fn load_wake_ms(&self) -> Option<u64> {
        self.group.installing.as_ref().and_then(|(_, at_ms)| *at_ms)
    }

    /// The snapshot is in the tables, or not.
    pub(crate) fn finish_install(&mut self, loaded: Loaded, now_ms: u64) -> Result<(), Broken> {
        let tables = match loaded {
            Loaded::Done(tables) => tables,
            Loaded::Full => {
                self.guard.met_full(now_ms);
                if let Some((_, at_ms)) = &mut self.group.installing {
                    *at_ms = Some(now_ms + RETRY_MS);
                }
                return Ok(());
            }
            Loaded::Failed(why) => return Err(Broken::Apply(why)),
        };
        let Some((header, _)) = self.group.installing.take() else { return Ok(()) };
        self.machine.reset((*tables).clone(), header.members);
        let index = tables.index();
        self.shared.publish(*tables);
        self.shared.gauges.loads.fetch_add(1, SeqCst);
        self.shared.gauges.is_installing.store(false, Relaxed);
        // After the loads are over: who is told to list again can.
        self.shared.watches.reset(index);
        self.shared.metrics.snapshots_installed.fetch_add(1, Relaxed);
        self.next_expiry_ms =
            self.machine.next_expiry_ms().map_err(|error| Broken::Apply(error.to_string()))?;
        self.offer_newest();
        Ok(())
    }

    /// Tells the library which snapshot there is for peers.
    pub(crate) fn offer_newest(&mut self) {
        let Some(snapshots) = self.snapshotter.store_of_snapshots() else { return };
        let last = self.raft.raft.raft_log.last_index();
        let positions = snapshots.list().unwrap_or_default();
        let position = positions.into_iter().find(|position| position.index <= last);
        let info = position.and_then(|position| snapshots.info(position).ok());
        self.raft.mut_store().newest = info.and_then(|info| {
            let members = members_codec::decode(&info.members)?;
            Some(Shippable { position: info.position, members, bytes: info.bytes })
        });
    }
}

fn load(snapshots: &dyn SnapshotStore, position: Position, members: &Members, store: &AnyStore) -> Loaded {
    let loaded = (|| -> Result<Tables, SnapshotError> {
        let mut content = snapshots.open(position)?;
        let mut writer = Stepwise::new(store)?;
        let (tables, _) = snapshot::read(&mut content, &mut writer)?;
        writer.put(keys::MEMBERS, &members_codec::encode(members))?;
        writer.commit()?;
        Ok(tables)
    })();
    match loaded {
        Ok(tables) => Loaded::Done(Box::new(tables)),
        Err(SnapshotError::Store(StoreError::Full(_))) => Loaded::Full,
        Err(error) => Loaded::Failed(format!("the installed snapshot cannot be loaded: {error}")),
    }
}
