//! Members and their changes as bytes, in our own layout: what is read from disk or from a peer is never
//! decoded with the consensus library's protobuf 2 (RUSTSEC-2024-0437). All numbers are little endian.
//!
//! ```text
//! members v2: u8 2, u64 cluster, u64 changed_at, conf, u16 count, members
//! members v1: u8 1, conf
//! conf:       voters, learners, outgoing voters, next learners: each u16 count and u64 ids; u8 auto_leave
//! member:     u64 raft_id, u32 log_version, u8 read_only, five texts: each u16 length and bytes
//! change:     u8 1, u8 what, u64 base, then a member (add, update) or u64 raft_id
//! ```

use raft::eraftpb::ConfState;

use crate::members::{MEMBERS_MAX, Member, MemberChange, Members, TEXT_BYTES_MAX};

const V1: u8 = 1;
const V2: u8 = 2;
const CHANGE: u8 = 1;

/// Encodes the members.
pub(crate) fn encode(members: &Members) -> Vec<u8> {
    let mut out = vec![V2];
    out.extend_from_slice(&members.cluster_id.to_le_bytes());
    out.extend_from_slice(&members.changed_at.to_le_bytes());
    write_conf(&mut out, &members.conf);
    out.extend_from_slice(&(members.records.len() as u16).to_le_bytes());
    for member in members.records.values() {
        write_member(&mut out, member);
    }
    out
}

/// Decodes the members; `None` for bytes that this version did not write.
pub(crate) fn decode(bytes: &[u8]) -> Option<Members> {
    let (version, rest) = bytes.split_first()?;
    let mut reader = Reader(rest);
    let mut members = Members::default();
    match *version {
        V1 => members.conf = reader.conf()?,
        V2 => {
            members.cluster_id = reader.u64()?;
            members.changed_at = reader.u64()?;
            members.conf = reader.conf()?;
            for _ in 0..reader.u16()? {
                let member = reader.member()?;
                members.records.insert(member.raft_id, member);
            }
        }
        _ => return None,
    }
    reader.0.is_empty().then_some(members)
}

/// A change as it is in a configuration entry; `base` is the `changed_at` of the members it is made to.
pub(crate) fn encode_change(base: u64, change: &MemberChange) -> Vec<u8> {
    let what = match change {
        MemberChange::Add(_) => 0,
        MemberChange::Promote(_) => 1,
        MemberChange::Demote(_) => 2,
        MemberChange::Remove(_) => 3,
        MemberChange::Update(_) => 4,
    };
    let mut out = vec![CHANGE, what];
    out.extend_from_slice(&base.to_le_bytes());
    match change {
        MemberChange::Add(member) | MemberChange::Update(member) => write_member(&mut out, member),
        MemberChange::Promote(id) | MemberChange::Demote(id) | MemberChange::Remove(id) => {
            out.extend_from_slice(&id.to_le_bytes());
        }
    }
    out
}

/// The base and the change of a configuration entry; `None` for bytes that this version did not write.
pub(crate) fn decode_change(bytes: &[u8]) -> Option<(u64, MemberChange)> {
    let (&[version, what], rest) = bytes.split_first_chunk::<2>()?;
    if version != CHANGE {
        return None;
    }
    let mut reader = Reader(rest);
    let base = reader.u64()?;
    let change = match what {
        0 => MemberChange::Add(reader.member()?),
        1 => MemberChange::Promote(reader.u64()?),
        2 => MemberChange::Demote(reader.u64()?),
        3 => MemberChange::Remove(reader.u64()?),
        4 => MemberChange::Update(reader.member()?),
        _ => return None,
    };
    reader.0.is_empty().then_some((base, change))
}

fn write_conf(out: &mut Vec<u8>, conf: &ConfState) {
    for ids in [&conf.voters, &conf.learners, &conf.voters_outgoing, &conf.learners_next] {
        out.extend_from_slice(&(ids.len() as u16).to_le_bytes());
        for id in ids {
            out.extend_from_slice(&id.to_le_bytes());
        }
    }
    out.push(u8::from(conf.auto_leave));
}

fn write_member(out: &mut Vec<u8>, member: &Member) {
    out.extend_from_slice(&member.raft_id.to_le_bytes());
    out.extend_from_slice(&member.log_version.to_le_bytes());
    out.push(u8::from(member.read_only));
    for text in [&member.node_id, &member.address, &member.http_address, &member.zone, &member.version] {
        // Longer ones are refused before they get here.
        let text = &text.as_bytes()[..text.len().min(TEXT_BYTES_MAX)];
        out.extend_from_slice(&(text.len() as u16).to_le_bytes());
        out.extend_from_slice(text);
    }
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::from(self.u16()?);
        if length > TEXT_BYTES_MAX {
            return None;
        }
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }

    fn ids(&mut self) -> Option<Vec<u64>> {
        let count = usize::from(self.u16()?);
        if count > MEMBERS_MAX {
            return None;
        }
        (0..count).map(|_| self.u64()).collect()
    }

    fn conf(&mut self) -> Option<ConfState> {
        let mut conf = ConfState { voters: self.ids()?, learners: self.ids()?, ..ConfState::default() };
        conf.voters_outgoing = self.ids()?;
        conf.learners_next = self.ids()?;
        conf.auto_leave = self.flag()?;
        Some(conf)
    }

    fn member(&mut self) -> Option<Member> {
        let (raft_id, log_version, read_only) = (self.u64()?, self.u32()?, self.flag()?);
        let (node_id, address, http_address) = (self.text()?, self.text()?, self.text()?);
        let (zone, version) = (self.text()?, self.text()?);
        Some(Member { raft_id, node_id, address, http_address, zone, version, log_version, read_only })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::tests::member;

    #[test]
    fn members_read_back_as_written_and_cut_ones_are_refused() {
        let mut members = Members::founded(u64::MAX, member(7), 1);
        members.apply(1, &MemberChange::Add(Member { read_only: true, ..member(9) }), 5).unwrap();
        let bytes = encode(&members);
        assert_eq!(decode(&bytes), Some(members));
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), None);
        }
        assert_eq!(decode(&[3]), None);
    }

    #[test]
    fn the_first_layout_is_still_understood() {
        let mut bytes = vec![V1];
        write_conf(&mut bytes, &Members::alone(7).conf);
        assert_eq!(decode(&bytes), Some(Members::alone(7)));
    }

    #[test]
    fn changes_read_back_as_written() {
        use MemberChange::{Add, Demote, Promote, Remove, Update};
        for change in [Add(member(1)), Promote(2), Demote(3), Remove(4), Update(member(5))] {
            let bytes = encode_change(3, &change);
            assert_eq!(decode_change(&bytes), Some((3, change)));
            for cut in 0..bytes.len() {
                assert_eq!(decode_change(&bytes[..cut]), None);
            }
        }
    }
}
