//! What the driver knows of its group beyond the consensus library: who is in it, what this node promised to
//! whom, and what is on its way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use konsul_disk::wal::HardState;
use konsul_state::apply::Position;
use raft::eraftpb::Message;

use crate::members::Members;
use crate::seams::{IdentityKeeper, NodeIdentity, Peers, Tasks};
use crate::shared::GroupState;
use crate::wire::SnapshotHeader;

/// The newest time of the leader that this node has processed as its follower.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    pub term: u64,
    pub leader: u64,
    pub sent_ms: u64,
}

/// A snapshot on its way to a peer; the log behind it must stay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shipping {
    pub position: Position,
    /// The transport is done with it, and the peer has not answered from behind it yet.
    pub is_sent: bool,
    /// When the transport was done.
    pub sent_at_ms: u64,
}

/// Why nothing of the library is heard or asked for a moment: a position of the log changes under it, and it
/// must not look before that is on disk.
#[derive(Debug)]
pub(crate) enum Pause {
    /// The log begins anew behind a snapshot; then it goes into the tables.
    Install { header: SnapshotHeader, ready: u64 },
    /// The log begins, with this node as the only member.
    Genesis { ticket: u64, members: Members, identity: NodeIdentity },
}

/// A handover of leadership that somebody waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handover {
    pub ticket: u64,
    pub to: u64,
    pub deadline_ms: u64,
}

pub(crate) struct Group {
    /// A lone node neither draws nor sends.
    pub is_alone: bool,
    pub state: GroupState,
    /// As of the newest applied change.
    pub members: Members,
    pub identity: NodeIdentity,
    pub keeper: Box<dyn IdentityKeeper>,
    pub peers: Box<dyn Peers>,
    pub tasks: Arc<dyn Tasks>,
    pub seed: u64,
    pub heard: Heard,
    /// A former leader may count on this node until then: it grants no vote.
    pub no_votes_before_ms: u64,
    /// The same for what a former life of this process may have promised.
    pub grace_until_ms: u64,
    /// The number of the last ready that was handed to the log, and of the last that is on disk.
    pub handed: u64,
    pub landed: u64,
    /// Term, vote and commit as the library last said them, and as they were last handed to the log.
    pub hard_state: HardState,
    pub handed_state: HardState,
    /// The ready that the last change of term or vote went with.
    pub voted_in: u64,
    /// Messages that must not leave before the ready with that number is on disk.
    pub held: VecDeque<(u64, Vec<Message>)>,
    pub pause: Option<Pause>,
    /// The snapshot in the log whose content is on its way into the tables; when to try again.
    pub installing: Option<(SnapshotHeader, Option<u64>)>,
    /// A peer's snapshot that the library has been told of.
    pub received: Option<SnapshotHeader>,
    pub shipping: BTreeMap<u64, Shipping>,
    pub handover: Option<Handover>,
    /// The node stops: until when it waits for another to lead.
    pub leaving_until_ms: Option<u64>,
    /// The term in which a handover was begun: its leader's lease may be overtaken.
    pub handed_over_term: u64,
    /// The term this leader has done its first duties in.
    pub inaugurated_term: u64,
    /// When each peer was last heard of, on the node's clock.
    pub contact_ms: BTreeMap<u64, u64>,
    pub next_view_ms: u64,
}

/// What a group is reached through and kept in.
pub(crate) struct Around {
    pub keeper: Box<dyn IdentityKeeper>,
    pub peers: Box<dyn Peers>,
    pub tasks: Arc<dyn Tasks>,
}

impl Group {
    pub fn new(
        is_alone: bool,
        members: Members,
        identity: NodeIdentity,
        hard_state: HardState,
        seed: u64,
        around: Around,
    ) -> Self {
        let Around { keeper, mut peers, tasks } = around;
        let state = if !members.is_empty() && !members.contains(identity.raft_id) {
            GroupState::Removed
        } else if members.is_empty() && identity.cluster_id == 0 {
            GroupState::Unformed
        } else {
            GroupState::Formed
        };
        if state == GroupState::Formed {
            peers.set_cluster(identity.cluster_id);
            peers.set_members(&members.list());
        }
        Self {
            is_alone,
            state,
            members,
            identity,
            keeper,
            peers,
            tasks,
            seed,
            heard: Heard::default(),
            no_votes_before_ms: 0,
            grace_until_ms: 0,
            handed: 0,
            landed: 0,
            hard_state,
            handed_state: hard_state,
            voted_in: 0,
            held: VecDeque::new(),
            pause: None,
            installing: None,
            received: None,
            shipping: BTreeMap::new(),
            handover: None,
            leaving_until_ms: None,
            handed_over_term: 0,
            inaugurated_term: 0,
            contact_ms: BTreeMap::new(),
            next_view_ms: 0,
        }
    }

    /// True while the log's position changes under the library.
    pub fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// True while frames are neither taken nor asked for.
    pub fn is_deaf(&self) -> bool {
        self.pause.is_some() || self.state != GroupState::Formed
    }
}

/// Ticks until an election begins, in `[least, most)`. The library draws from the system's random numbers;
/// this is the same for the same inputs, so that a simulation can be repeated.
pub(crate) fn draw_timeout(
    seed: u64,
    raft_id: u64,
    term: u64,
    facts: [u64; 2],
    range: (usize, usize),
) -> usize {
    let (least, most) = range;
    let mut state = seed ^ raft_id.rotate_left(32) ^ term.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for fact in facts {
        state = mix(state ^ fact.wrapping_mul(0xd1b5_4a32_d192_ed03));
    }
    least + (mix(state) % (most.saturating_sub(least).max(1)) as u64) as usize
}

/// The finisher of splitmix64.
pub(crate) fn mix(mut state: u64) -> u64 {
    state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_differ_between_nodes_and_terms_and_stay_in_range() {
        let draws: Vec<usize> = (1..=3)
            .flat_map(|id| (1..20).map(move |term| draw_timeout(7, id, term, [0, 0], (50, 100))))
            .collect();
        assert!(draws.iter().all(|ticks| (50..100).contains(ticks)));
        let mut distinct = draws.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert!(distinct.len() > 20);
        assert_eq!(draw_timeout(7, 1, 1, [0, 0], (50, 100)), draws[0]);
    }
}
