//! What comes from peers, on its way to the driver.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::inbox::Event;
use crate::seams::{SnapshotSink, SnapshotStore};
use crate::shared::Shared;
use crate::wire::SnapshotHeader;

/// The slot in the node's door for what peers send. Clones are cheap; every call returns at once.
#[derive(Clone)]
pub struct Post {
    pub(crate) shared: Arc<Shared>,
    pub(crate) snapshots: Option<Arc<dyn SnapshotStore>>,
}

impl Post {
    /// A frame of the member `from`; false if it was dropped for want of room.
    pub fn frame(&self, from: u64, frame: Bytes) -> bool {
        self.shared.inbox.deliver(from, frame)
    }

    /// The member cannot be reached, or what was sent to it got lost.
    pub fn unreachable(&self, peer: u64) {
        let _ = self.shared.inbox.send(Event::Unreachable { peer });
    }

    /// A member says that this node was put out of the group: it may have been away when that was decided.
    /// What members know of that is final, an id is never taken in again.
    pub fn removed(&self) {
        let _ = self.shared.inbox.send(Event::Outcast);
    }

    /// What became of a [`crate::seams::Shipment`]: `is_ok` when the receiver has all of it and its
    /// [`SnapshotSink::finish`] did not fail.
    pub fn shipped(&self, to: u64, is_ok: bool) {
        let _ = self.shared.inbox.send(Event::Shipped { to, is_ok });
    }

    /// A place for the snapshot that the member `from` announces by `header`.
    ///
    /// # Errors
    /// If the header is not one that this version writes, is of or for somebody else, or the disk refuses.
    pub fn begin_snapshot(&self, from: u64, header: &[u8]) -> io::Result<Box<dyn SnapshotSink>> {
        let refused = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
        let known = SnapshotHeader::decode(header).ok_or_else(|| refused("its header is not understood"))?;
        if known.from != from || known.to != self.shared.raft_id() {
            return Err(refused("it is not from and for whom it says"));
        }
        let snapshots = self.snapshots.as_ref().ok_or_else(|| refused("this node keeps no snapshots"))?;
        snapshots.begin_receive(known.position)
    }

    /// The snapshot is whole and its sink finished.
    pub fn received(&self, from: u64, header: Bytes) {
        let _ = self.shared.inbox.send(Event::Received { from, header });
    }
}
