//! What becomes of wishes through leaders, losses and deadlines.

use super::*;
use crate::waiting::Work;
use crate::wire::FrameKind;

const APPLIED: u16 = 0;

struct Side {
    forwards: Forwards,
    done: Vec<Done>,
    frames: Vec<(u64, Forward)>,
    is_down: bool,
}

impl Side {
    fn new() -> Self {
        Self { forwards: Forwards::named(7), done: Vec::new(), frames: Vec::new(), is_down: false }
    }

    fn write(&mut self, ticket: u64, deadline_ms: u64) {
        let waiter = Waiter { ticket, deadline_ms, bytes: 3, work: Work::Client };
        let body = self.forwards.make_once(b"\x90");
        self.forwards.add(waiter, Wish::Write(body), None);
    }

    fn pump(&mut self, now_ms: u64, leader: Option<Leader>, requests: u64) {
        let Self { forwards, done, frames, is_down } = self;
        let mut send = |to, frame: Bytes| {
            let (kind, body) = FrameKind::split(&frame).unwrap();
            assert_eq!(kind, FrameKind::Forward);
            if !*is_down {
                frames.push((to, Forward::decode(body).unwrap()));
            }
            !*is_down
        };
        forwards.pump(now_ms, leader, requests, 1_000, &mut send, done);
    }

    fn hear(&mut self, term: u64, seq: u64, raft_index: u64, status: u16) {
        let told = Told { seq, raft_index, status, index: 5, number: 0, text: Bytes::new() };
        self.forwards.hear(ForwardAnswer { term, nonce: 7, told: vec![told] }, 0, &mut self.done);
    }

    /// Tickets and statuses told since the last call.
    fn told(&mut self) -> Vec<(u64, u16)> {
        self.done.drain(..).map(|done| (done.completion.ticket, done.completion.status)).collect()
    }

    /// Numbers and doubts of the frames since the last call.
    fn sent(&mut self) -> Vec<(u64, u64, u64)> {
        let each = |(to, forward): (u64, Forward)| {
            forward.asked.into_iter().map(move |asked| (to, asked.seq, asked.since)).collect::<Vec<_>>()
        };
        self.frames.drain(..).flat_map(each).collect()
    }
}

#[test]
fn many_travel_in_one_frame_and_are_answered_when_they_are_in_the_tables_here() {
    let mut side = Side::new();
    side.write(1, 100);
    side.write(2, 100);
    side.pump(0, Some((9, 3)), 0);
    assert_eq!(side.frames.len(), 1);
    assert_eq!(side.sent(), [(9, 1, u64::MAX), (9, 2, u64::MAX)]);
    side.hear(3, 1, 40, APPLIED);
    side.hear(3, 2, 41, code::CONFLICT);
    side.forwards.applied(39, &mut side.done);
    assert!(side.told().is_empty());
    side.forwards.applied(40, &mut side.done);
    assert_eq!(side.told(), [(1, APPLIED)]);
    side.forwards.applied(41, &mut side.done);
    assert_eq!(side.told(), [(2, code::CONFLICT)]);
    assert!(side.forwards.is_empty());
}

#[test]
fn the_next_leader_is_asked_under_the_same_id_with_the_doubt_it_carries() {
    let mut side = Side::new();
    side.write(1, 5_000);
    side.pump(0, Some((9, 3)), 77);
    let first = side.frames[0].1.asked[0].wish.clone();
    side.frames.clear();
    side.pump(10, None, 80);
    side.pump(5_000 - 1, None, 80);
    assert!(side.told().is_empty(), "it may be in the log: nobody can say that it is not");
    side.hear(3, 1, 40, APPLIED);
    assert!(side.told().is_empty(), "a word of the former term comes too late");
    side.pump(20, Some((8, 4)), 90);
    assert_eq!(side.frames[0].1.asked[0].wish, first);
    assert_eq!(side.sent(), [(8, 2, 77)]);
    side.hear(4, 2, 0, code::BUSY);
    assert!(side.told().is_empty(), "a refusal does not settle what the former leader may have done");
    side.pump(40, Some((8, 4)), 90);
    assert_eq!(side.sent(), [(8, 3, 77)]);
    side.forwards.expire(5_000, &mut side.done);
    assert_eq!(side.told(), [(1, code::TIMEOUT)]);
}

#[test]
fn without_a_leader_new_writes_wait_a_while_and_later_ones_not_at_all() {
    let mut side = Side::new();
    side.pump(100, None, 0);
    side.write(1, 9_000);
    side.pump(1_099, None, 0);
    assert!(side.told().is_empty());
    side.pump(1_100, None, 0);
    assert_eq!(side.told(), [(1, code::NO_LEADER)]);
    side.write(2, 9_000);
    side.pump(1_101, None, 0);
    assert_eq!(side.told(), [(2, code::NO_LEADER)]);
    side.pump(1_200, Some((9, 3)), 0);
    side.pump(1_300, None, 0);
    side.write(3, 9_000);
    side.pump(1_400, None, 0);
    assert!(side.told().is_empty(), "the wait is counted from when the leader was lost");
}

#[test]
fn a_former_leader_waits_from_when_it_lost_the_lead() {
    let mut side = Side::new();
    side.pump(100, None, 0);
    side.forwards.lead();
    side.write(1, 9_000);
    side.pump(5_000, None, 0);
    assert!(side.told().is_empty());
    side.pump(6_000, None, 0);
    assert_eq!(side.told(), [(1, code::NO_LEADER)]);
}

#[test]
fn what_cannot_leave_is_in_no_doubt() {
    let mut side = Side::new();
    side.write(1, 50);
    side.is_down = true;
    side.pump(0, Some((9, 3)), 0);
    side.pump(RETRY_MS - 1, Some((9, 3)), 0);
    side.forwards.expire(50, &mut side.done);
    assert_eq!(side.told(), [(1, code::NO_LEADER)]);
    side.write(2, 500);
    side.is_down = false;
    side.pump(60, Some((9, 3)), 0);
    assert_eq!(side.sent().len(), 1);
    side.hear(3, 2, 0, code::NO_LEADER);
    side.pump(60 + RETRY_MS, Some((9, 3)), 0);
    assert_eq!(side.sent(), [(9, 3, u64::MAX)], "it found no leader where it went");
    side.hear(3, 3, 0, code::TOO_LARGE);
    assert_eq!(side.told(), [(2, code::TOO_LARGE)]);
}

#[test]
fn a_lost_frame_goes_again_under_the_same_number() {
    let mut side = Side::new();
    side.write(1, 9_000);
    side.write(2, 9_000);
    side.pump(0, Some((9, 3)), 0);
    side.sent();
    side.hear(3, 1, 40, APPLIED);
    assert_eq!(side.forwards.resend_late(500, 1_000), 0);
    assert_eq!(side.forwards.resend_late(1_100, 1_000), 1);
    side.pump(1_100, Some((9, 3)), 0);
    assert_eq!(side.frames[0].1.floor, 2, "the first is settled");
    assert_eq!(side.sent(), [(9, 2, u64::MAX)]);
    assert_eq!(side.forwards.resend_to(8, 1_200), 0);
    assert_eq!(side.forwards.resend_to(9, 1_200), 1);
    side.pump(1_200 + RETRY_MS, Some((9, 3)), 0);
    assert_eq!(side.sent(), [(9, 2, u64::MAX)]);
}

#[test]
fn a_node_that_is_elected_takes_its_own_back_with_their_doubt() {
    let mut side = Side::new();
    side.write(1, 9_000);
    side.pump(0, Some((9, 3)), 50);
    side.write(2, 9_000);
    side.hear(3, 1, 40, APPLIED);
    side.write(3, 9_000);
    side.pump(1, Some((9, 3)), 60);
    let taken: Vec<_> =
        side.forwards.take_undecided().into_iter().map(|(waiter, _, doubt)| (waiter.ticket, doubt)).collect();
    assert_eq!(taken, [(2, Some(60)), (3, Some(60))]);
    side.forwards.applied(40, &mut side.done);
    assert_eq!(side.told(), [(1, APPLIED)], "it is decided, whoever leads");
}

#[test]
fn request_ids_are_never_drawn_twice() {
    let (mut one, mut other) = (Forwards::named(1), Forwards::named(2));
    let mut drawn: Vec<RequestId> = (0..10).flat_map(|_| [one.draw_id(), other.draw_id()]).collect();
    drawn.sort_unstable();
    drawn.dedup();
    assert_eq!(drawn.len(), 20);
}
