//! The members of the group as bytes, in our own layout: what is read from disk (and later from peers) is
//! never decoded with the consensus library's protobuf 2 (RUSTSEC-2024-0437).
//!
//! ```text u8 version, then voters, learners, outgoing voters, next learners: each u16 LE count and u64 LE
//! ids; u8 auto_leave
//! ```

use raft::eraftpb::ConfState;

const VERSION: u8 = 1;

/// Encodes the members.
pub(crate) fn encode(state: &ConfState) -> Vec<u8> {
    let mut out = vec![VERSION];
    for ids in [&state.voters, &state.learners, &state.voters_outgoing, &state.learners_next] {
        // A group has at most 7 voters and a handful of learners.
        out.extend_from_slice(&(ids.len() as u16).to_le_bytes());
        for id in ids {
            out.extend_from_slice(&id.to_le_bytes());
        }
    }
    out.push(u8::from(state.auto_leave));
    out
}

/// Decodes the members; `None` for bytes that this version did not write.
pub(crate) fn decode(bytes: &[u8]) -> Option<ConfState> {
    let (version, mut rest) = bytes.split_first()?;
    if *version != VERSION {
        return None;
    }
    let mut lists = [vec![], vec![], vec![], vec![]];
    for ids in &mut lists {
        let (count, after) = rest.split_first_chunk::<2>()?;
        rest = after;
        for _ in 0..u16::from_le_bytes(*count) {
            let (id, after) = rest.split_first_chunk::<8>()?;
            ids.push(u64::from_le_bytes(*id));
            rest = after;
        }
    }
    let [auto_leave] = rest else { return None };
    let [voters, learners, voters_outgoing, learners_next] = lists;
    let mut state = ConfState { voters, learners, voters_outgoing, learners_next, ..ConfState::default() };
    state.auto_leave = *auto_leave == 1;
    Some(state)
}

/// A group of one.
pub(crate) fn alone(node_id: u64) -> ConfState {
    ConfState { voters: vec![node_id], ..ConfState::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_read_back_as_written() {
        let mut state = ConfState { voters: vec![1, 2, 3], learners: vec![9], ..ConfState::default() };
        state.voters_outgoing = vec![4];
        state.auto_leave = true;
        assert_eq!(decode(&encode(&state)), Some(state));
        assert_eq!(decode(&encode(&alone(7))), Some(alone(7)));
    }

    #[test]
    fn foreign_bytes_are_refused() {
        let bytes = encode(&alone(7));
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), None);
        }
        assert_eq!(decode(&[2]), None);
    }
}
