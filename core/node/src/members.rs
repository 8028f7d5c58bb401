//! Who belongs to the group, and who may vote: replicated by configuration entries, stored with the tables.
//!
//! A change is a pure function of the members before it, so every replica comes to the same members by the
//! same log. What lies on disk or comes from a peer is in our own layout (`members_codec.rs`).

use std::collections::BTreeMap;

use konsul_state::apply::Refusal;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState};

use crate::code;

/// The newest kind of log this build understands; a member that understands less is not taken in.
pub const LOG_VERSION: u32 = 3;
/// From this version on an ended lease has its own kind of entry.
pub(crate) const LAPSES_FROM: u32 = 3;
/// Ids are drawn below this, so that they survive a trip through JSON.
pub(crate) const RAFT_ID_END: u64 = 1 << 48;
/// Most members of a group: 7 voters, and those who only listen.
pub const MEMBERS_MAX: usize = 64;
/// Most members that vote.
pub const VOTERS_MAX: usize = 7;
/// The longest text of a member, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 512;

/// One member of the group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Drawn per data directory, never used again.
    pub raft_id: u64,
    /// The operator's name for it.
    pub node_id: String,
    /// Where its peers reach it, `host:port`.
    pub address: String,
    /// The URL of its HTTP door.
    pub http_address: String,
    /// Its failure zone.
    pub zone: String,
    /// The version it runs.
    pub version: String,
    /// The newest kind of log it understands, see [`LOG_VERSION`].
    pub log_version: u32,
    /// It is never made a voter.
    pub read_only: bool,
}

/// One change of the members; each is one log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// Takes a new member in. It listens first.
    Add(Member),
    /// Makes a listener a voter.
    Promote(u64),
    /// Makes a voter a listener.
    Demote(u64),
    /// Puts a member out.
    Remove(u64),
    /// Replaces what is known of a member; who votes stays.
    Update(Member),
}

impl MemberChange {
    /// The member it is about.
    pub fn raft_id(&self) -> u64 {
        match self {
            Self::Add(member) | Self::Update(member) => member.raft_id,
            Self::Promote(id) | Self::Demote(id) | Self::Remove(id) => *id,
        }
    }
}

/// Everybody in the group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members {
    /// The group's id; 0: not known (a group of one from before groups had more).
    pub cluster_id: u64,
    /// The Raft index of the change that led to these members; genesis is a change. After a recovery by hand
    /// a number over every index, the same on all nodes: changes proposed before it are void.
    pub changed_at: u64,
    /// Who votes and who listens.
    pub conf: ConfState,
    /// What is known of each.
    pub records: BTreeMap<u64, Member>,
}

impl Members {
    /// A group of one that nothing else is known of.
    pub fn alone(raft_id: u64) -> Self {
        Self { conf: ConfState { voters: vec![raft_id], ..ConfState::default() }, ..Self::default() }
    }

    /// A new group of `founder`, from the position `at` of its log.
    pub fn founded(cluster_id: u64, founder: Member, at: u64) -> Self {
        let conf = ConfState { voters: vec![founder.raft_id], ..ConfState::default() };
        let records = BTreeMap::from([(founder.raft_id, founder)]);
        Self { cluster_id, changed_at: at, conf, records }
    }

    /// True while nobody is in it: a node that belongs to no group yet.
    pub fn is_empty(&self) -> bool {
        self.conf.voters.is_empty()
    }

    /// True if the id votes.
    pub fn is_voter(&self, raft_id: u64) -> bool {
        self.conf.voters.contains(&raft_id)
    }

    /// True if the id votes or listens.
    pub fn contains(&self, raft_id: u64) -> bool {
        self.is_voter(raft_id) || self.conf.learners.contains(&raft_id)
    }

    /// How many voters decide.
    pub fn quorum(&self) -> usize {
        self.conf.voters.len() / 2 + 1
    }

    /// Everybody's record, by id; one that only says its id for a member nothing else is known of.
    pub fn list(&self) -> Vec<Member> {
        let mut ids: Vec<u64> = self.conf.voters.iter().chain(&self.conf.learners).copied().collect();
        ids.sort_unstable();
        let unknown = |raft_id| Member { raft_id, ..Member::default() };
        ids.into_iter().map(|id| self.records.get(&id).cloned().unwrap_or_else(|| unknown(id))).collect()
    }

    /// Why the change cannot be made to these members, if so.
    ///
    /// # Errors
    /// `INVALID` with words for the operator.
    pub fn check(&self, change: &MemberChange) -> Result<(), Refusal> {
        let id = change.raft_id();
        if !matches!(change, MemberChange::Add(_)) && !self.contains(id) {
            return Err(Refusal::invalid(format!("there is no member {id}")));
        }
        match change {
            MemberChange::Add(member) => self.check_add(member),
            MemberChange::Promote(_) if self.is_voter(id) => {
                Err(Refusal::invalid(format!("member {id} votes already")))
            }
            MemberChange::Promote(_) if self.conf.voters.len() >= VOTERS_MAX => {
                Err(Refusal::invalid(format!("the group has {VOTERS_MAX} voters, more are not possible")))
            }
            MemberChange::Promote(_) if self.records.get(&id).is_some_and(|member| member.read_only) => {
                Err(Refusal::invalid(format!("member {id} is read-only and never votes")))
            }
            MemberChange::Demote(_) if !self.is_voter(id) => {
                Err(Refusal::invalid(format!("member {id} does not vote")))
            }
            MemberChange::Demote(_) | MemberChange::Remove(_)
                if self.is_voter(id) && self.conf.voters.len() == 1 =>
            {
                Err(Refusal::invalid("it is the last voter: the group would be lost"))
            }
            MemberChange::Update(member) => self.check_record(member),
            MemberChange::Promote(_) | MemberChange::Demote(_) | MemberChange::Remove(_) => Ok(()),
        }
    }

    fn check_add(&self, member: &Member) -> Result<(), Refusal> {
        let id = member.raft_id;
        if id == 0 || id >= RAFT_ID_END {
            return Err(Refusal::invalid(format!("raft_id {id} is not possible, expected 1 to 2^48")));
        }
        if self.contains(id) {
            return Err(Refusal::invalid(format!("member {id} is in the group already")));
        }
        if self.conf.voters.len() + self.conf.learners.len() >= MEMBERS_MAX {
            return Err(Refusal::invalid(format!(
                "the group has {MEMBERS_MAX} members, more are not possible"
            )));
        }
        if member.log_version < LOG_VERSION {
            return Err(Refusal::invalid(format!(
                "node {:?} understands logs up to version {} and this group writes version {LOG_VERSION}: \
                 upgrade it first",
                member.node_id, member.log_version
            )));
        }
        self.check_record(member)
    }

    fn check_record(&self, member: &Member) -> Result<(), Refusal> {
        let texts = [&member.node_id, &member.address, &member.http_address, &member.zone, &member.version];
        if texts.iter().any(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(Refusal::invalid(format!("a text of a member is limited to {TEXT_BYTES_MAX} bytes")));
        }
        if member.node_id.is_empty() || member.address.is_empty() {
            return Err(Refusal::invalid("a member needs a node_id and an address"));
        }
        let other = |known: &&Member| known.node_id == member.node_id && known.raft_id != member.raft_id;
        match self.records.values().find(other) {
            Some(known) => Err(Refusal::invalid(format!(
                "node_id {:?} is that of member {}; remove that one first",
                member.node_id, known.raft_id
            ))),
            None => Ok(()),
        }
    }

    /// Makes the change that is committed at `index`, and says what it means for the consensus library;
    /// nothing for a change of records alone. `base` is what `changed_at` was when it was proposed. A change
    /// that cannot be made leaves everything as it is.
    ///
    /// # Errors
    /// As [`Members::check`], and if the members are others than it was proposed for.
    pub fn apply(
        &mut self,
        base: u64,
        change: &MemberChange,
        index: u64,
    ) -> Result<Option<ConfChangeV2>, Refusal> {
        if base != self.changed_at {
            return Err(Refusal::new(code::CONFLICT, "the members changed meanwhile"));
        }
        self.check(change)?;
        let id = change.raft_id();
        let kind = match change {
            MemberChange::Add(_) | MemberChange::Demote(_) => Some(ConfChangeType::AddLearnerNode),
            MemberChange::Promote(_) => Some(ConfChangeType::AddNode),
            MemberChange::Remove(_) => Some(ConfChangeType::RemoveNode),
            MemberChange::Update(_) => None,
        };
        if kind.is_some() {
            self.conf.voters.retain(|known| *known != id);
            self.conf.learners.retain(|known| *known != id);
        }
        match change {
            MemberChange::Add(member) => {
                self.records.insert(id, member.clone());
                self.conf.learners.push(id);
            }
            MemberChange::Demote(_) => self.conf.learners.push(id),
            MemberChange::Promote(_) => self.conf.voters.push(id),
            MemberChange::Remove(_) => {
                self.records.remove(&id);
            }
            MemberChange::Update(member) => {
                self.records.insert(id, member.clone());
            }
        }
        self.changed_at = index;
        Ok(kind.map(|kind| single(kind, id)))
    }
}

/// A change of one member; the library needs no joint configuration for it.
fn single(kind: ConfChangeType, raft_id: u64) -> ConfChangeV2 {
    let mut change = ConfChangeSingle::default();
    change.set_change_type(kind);
    change.node_id = raft_id;
    let mut whole = ConfChangeV2::default();
    whole.mut_changes().push(change);
    whole
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn member(raft_id: u64) -> Member {
        Member {
            raft_id,
            node_id: format!("n{raft_id}"),
            address: format!("10.0.0.{raft_id}:7000"),
            log_version: LOG_VERSION,
            ..Member::default()
        }
    }

    #[test]
    fn members_come_as_listeners_and_go_one_at_a_time() {
        let mut members = Members::founded(9, member(1), 1);
        let mut apply = |change, index| {
            let base = members.changed_at;
            members.apply(base, &change, index).map(|change| change.is_some())
        };
        assert_eq!(apply(MemberChange::Add(member(2)), 2), Ok(true));
        assert!(apply(MemberChange::Add(member(2)), 3).is_err());
        assert_eq!(apply(MemberChange::Promote(2), 4), Ok(true));
        assert_eq!(apply(MemberChange::Update(Member { zone: "b".into(), ..member(2) }), 5), Ok(false));
        assert_eq!(apply(MemberChange::Demote(1), 6), Ok(true));
        assert!(apply(MemberChange::Remove(2), 7).is_err(), "the last voter");
        assert_eq!(members.conf.voters, [2]);
        assert_eq!(members.conf.learners, [1]);
        assert_eq!((members.changed_at, members.records[&2].zone.as_str()), (6, "b"));
    }

    #[test]
    fn a_name_belongs_to_one_member_and_old_logs_are_refused() {
        let members = Members::founded(9, member(1), 1);
        let twin = Member { node_id: "n1".into(), ..member(2) };
        assert!(members.check(&MemberChange::Add(twin)).unwrap_err().message.contains("remove"));
        let old = Member { log_version: 1, ..member(2) };
        assert!(members.check(&MemberChange::Add(old)).unwrap_err().message.contains("upgrade"));
        let reader = Member { read_only: true, ..member(2) };
        let mut members = members;
        members.apply(1, &MemberChange::Add(reader), 2).unwrap();
        assert!(members.check(&MemberChange::Promote(2)).is_err());
    }
}
