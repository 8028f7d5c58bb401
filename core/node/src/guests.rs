//! What followers have asked this leader to do, and what they were told: each wish is taken once per term,
//! however often its frame comes, late or twice.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::forward_wire::{Asked, FRAME_BYTES, Forward, ForwardAnswer, Told};

/// Wishes remembered of one follower above its floor; more wait until the floor rises.
const SEEN_MAX: usize = 1 << 18;
/// Lives of one follower that are remembered: a frame of a former one may still be on its way.
const LIVES_MAX: usize = 4;
/// Bytes of frames kept until this leader may serve them.
const HELD_BYTES_MAX: usize = 64 << 20;

/// Whose wish an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub peer: u64,
    pub nonce: u64,
    pub term: u64,
    pub seq: u64,
}

#[derive(Default)]
struct Guest {
    floor: u64,
    /// What was taken, and what it was told if that is known.
    seen: BTreeMap<u64, Option<Told>>,
    /// Told and not yet sent.
    outbox: Vec<Told>,
}

/// The followers' lives that speak to this leader, in one term.
#[derive(Default)]
pub(crate) struct Guests {
    term: u64,
    peers: BTreeMap<u64, VecDeque<(u64, Guest)>>,
    held: Vec<(u64, Forward)>,
    held_bytes: usize,
}

impl Guests {
    /// Forgets everything of another term.
    pub fn begin(&mut self, term: u64) {
        if term != self.term {
            *self = Self { term, ..Self::default() };
        }
    }

    /// Keeps a frame until this leader may serve.
    pub fn hold(&mut self, from: u64, forward: Forward) {
        let bytes: usize = forward.asked.iter().map(|asked| 64 + asked.wish.len()).sum();
        // What finds no room is sent again.
        if self.held_bytes == 0 || self.held_bytes + bytes <= HELD_BYTES_MAX {
            self.held_bytes += bytes;
            self.held.push((from, forward));
        }
    }

    /// What was kept.
    pub fn take_held(&mut self) -> Vec<(u64, Forward)> {
        self.held_bytes = 0;
        std::mem::take(&mut self.held)
    }

    /// Notes a frame; hands out what was not seen before. What was answered before is answered again.
    pub fn take(&mut self, from: u64, forward: Forward) -> Vec<Asked> {
        if forward.term != self.term {
            return Vec::new();
        }
        let guest = self.guest(from, forward.nonce);
        if forward.floor > guest.floor {
            guest.floor = forward.floor;
            guest.seen = guest.seen.split_off(&forward.floor);
        }
        let mut fresh = Vec::with_capacity(forward.asked.len());
        for asked in forward.asked {
            if asked.seq < guest.floor {
                continue;
            }
            match guest.seen.get(&asked.seq) {
                Some(Some(told)) => guest.outbox.push(told.clone()),
                Some(None) => {}
                None if guest.seen.len() >= SEEN_MAX => {}
                None => {
                    guest.seen.insert(asked.seq, None);
                    fresh.push(asked);
                }
            }
        }
        fresh
    }

    fn guest(&mut self, peer: u64, nonce: u64) -> &mut Guest {
        let lives = self.peers.entry(peer).or_default();
        let at = match lives.iter().position(|(known, _)| *known == nonce) {
            Some(at) => at,
            None => {
                if lives.len() == LIVES_MAX {
                    lives.pop_front();
                }
                lives.push_back((nonce, Guest::default()));
                lives.len() - 1
            }
        };
        &mut lives[at].1
    }

    /// A wish of this term is decided.
    pub fn tell(&mut self, origin: Origin, told: Told) {
        if origin.term != self.term {
            return;
        }
        let guest = self.guest(origin.peer, origin.nonce);
        if let Some(known) = guest.seen.get_mut(&told.seq) {
            *known = Some(told.clone());
            guest.outbox.push(told);
        }
    }

    /// Sends what was told. A frame that is lost is asked for again.
    pub fn flush(&mut self, send: &mut dyn FnMut(u64, Bytes) -> bool) {
        let term = self.term;
        for (peer, lives) in &mut self.peers {
            for (nonce, guest) in lives {
                let mut bytes = 0;
                let mut told = Vec::new();
                for one in guest.outbox.drain(..) {
                    bytes += 48 + one.text.len();
                    told.push(one);
                    if bytes > FRAME_BYTES {
                        let told = std::mem::take(&mut told);
                        send(*peer, ForwardAnswer { term, nonce: *nonce, told }.encode());
                        bytes = 0;
                    }
                }
                if !told.is_empty() {
                    send(*peer, ForwardAnswer { term, nonce: *nonce, told }.encode());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward_wire::Wish;
    use crate::wire::FrameKind;

    fn forward(floor: u64, seqs: &[u64]) -> Forward {
        let wish = Wish::Write(Bytes::from_static(&[7; 17]));
        let asked = |seq: &u64| Asked { seq: *seq, left_ms: 9, since: u64::MAX, wish: wish.clone() };
        Forward { term: 3, nonce: 5, floor, asked: seqs.iter().map(asked).collect() }
    }

    fn told(seq: u64) -> Told {
        Told { seq, raft_index: 40, status: 1, index: 0, number: 2, text: Bytes::from_static(b"k") }
    }

    fn origin(seq: u64) -> Origin {
        Origin { peer: 2, nonce: 5, term: 3, seq }
    }

    fn seqs(asked: &[Asked]) -> Vec<u64> {
        asked.iter().map(|asked| asked.seq).collect()
    }

    fn sent(guests: &mut Guests) -> Vec<u64> {
        let mut found = Vec::new();
        guests.flush(&mut |to, frame| {
            let (kind, body) = FrameKind::split(&frame).unwrap();
            assert_eq!((to, kind), (2, FrameKind::ForwardAnswer));
            found.extend(ForwardAnswer::decode(body).unwrap().told.iter().map(|told| told.seq));
            true
        });
        found
    }

    #[test]
    fn a_frame_that_comes_twice_is_taken_once_and_answered_again() {
        let mut guests = Guests::default();
        guests.begin(3);
        assert_eq!(seqs(&guests.take(2, forward(1, &[1, 2]))), [1, 2]);
        assert_eq!(seqs(&guests.take(2, forward(1, &[1, 2, 3]))), [3]);
        assert!(sent(&mut guests).is_empty(), "nothing is decided yet");
        guests.tell(origin(1), told(1));
        assert_eq!(sent(&mut guests), [1]);
        assert!(guests.take(2, forward(1, &[1])).is_empty());
        assert_eq!(sent(&mut guests), [1], "its first answer may be lost");
    }

    #[test]
    fn below_the_floor_everything_is_late() {
        let mut guests = Guests::default();
        guests.begin(3);
        guests.take(2, forward(1, &[1, 2]));
        guests.tell(origin(1), told(1));
        sent(&mut guests);
        guests.take(2, forward(2, &[4]));
        assert!(guests.take(2, forward(1, &[1])).is_empty(), "the follower told its client long ago");
        assert!(sent(&mut guests).is_empty());
    }

    #[test]
    fn another_term_knows_nothing_and_takes_nothing_meant_for_the_last() {
        let mut guests = Guests::default();
        guests.begin(3);
        guests.take(2, forward(1, &[1]));
        guests.begin(4);
        assert!(guests.take(2, forward(1, &[1])).is_empty());
        guests.tell(origin(1), told(1));
        assert!(sent(&mut guests).is_empty());
    }
}
