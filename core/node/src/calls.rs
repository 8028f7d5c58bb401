//! Questions between nodes, as callers see them: those of others wait here until somebody takes and answers
//! them, our own come back through the completions.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use konsul_net::{CallError, Caller, Reply, Target};
use konsul_state::apply::Refusal;
use parking_lot::Mutex;

use crate::clock::SystemClock;
use crate::code;
use crate::completions::{Completion, Completions, Ticket};
use crate::network::Network;
use crate::seams::Clock as _;

/// Questions of others that are not answered, and our own.
const OPEN_MAX: usize = 256;
/// Questions of nodes that are no members: they leave room for the members'.
const STRANGE_OPEN_MAX: usize = OPEN_MAX / 4;
/// The longest question or answer in bytes.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Who has not answered by then never will, and makes room.
const KEPT_MS: u64 = 120_000;

/// A question that waits for an answer: id, the member who asks (0: none), its address, what it says.
pub type Call = (u64, u64, String, Bytes);

struct Open {
    reply: Reply,
    since_ms: u64,
    is_strange: bool,
}

#[derive(Default)]
struct Incoming {
    last_id: u64,
    /// Not yet taken.
    waiting: VecDeque<Call>,
    open: BTreeMap<u64, Open>,
}

/// The questions of one node.
pub(crate) struct Calls {
    completions: Arc<Completions>,
    clock: SystemClock,
    incoming: Mutex<Incoming>,
    outgoing: Arc<AtomicUsize>,
}

impl Calls {
    pub fn new(completions: Arc<Completions>) -> Self {
        let clock = SystemClock::new();
        Self { completions, clock, incoming: Mutex::default(), outgoing: Arc::default() }
    }

    /// A question of another node; on a thread of the transport.
    pub fn take_in(&self, caller: Caller, payload: Bytes, reply: Reply) {
        let since_ms = self.clock.now_ms();
        let mut incoming = self.incoming.lock();
        let is_strange = caller.raft_id == 0;
        let is_full = |incoming: &Incoming| {
            let strange = || incoming.open.values().filter(|open| open.is_strange).count();
            incoming.open.len() >= OPEN_MAX || (is_strange && strange() >= STRANGE_OPEN_MAX)
        };
        if is_full(&incoming) {
            incoming.open.retain(|_, open| since_ms.saturating_sub(open.since_ms) < KEPT_MS);
        }
        if is_full(&incoming) {
            drop(incoming);
            reply.send(code::BUSY, b"too many questions wait for an answer on that node");
            return;
        }
        incoming.last_id += 1;
        let id = incoming.last_id;
        incoming.open.insert(id, Open { reply, since_ms, is_strange });
        incoming.waiting.push_back((id, caller.raft_id, caller.address, payload));
        drop(incoming);
        self.completions.ring();
    }

    /// Hands out at most `limit` of those that wait, oldest first.
    pub fn take(&self, limit: usize) -> Vec<Call> {
        let mut incoming = self.incoming.lock();
        let count = incoming.waiting.len().min(limit);
        let taken = incoming.waiting.drain(..count).collect();
        if !incoming.waiting.is_empty() {
            self.completions.ring();
        }
        taken
    }

    /// Answers one; nothing if nobody waits for it any more.
    pub fn answer(&self, id: u64, status: u16, payload: &[u8]) {
        let Some(open) = self.incoming.lock().open.remove(&id) else { return };
        if payload.len() > PAYLOAD_BYTES_MAX {
            open.reply.send(code::TOO_LARGE, b"the answer is too long for a message between nodes");
        } else {
            open.reply.send(status, payload);
        }
    }

    /// Asks; answered through the completions under `ticket`.
    pub fn ask(
        &self,
        network: &Network,
        target: Target,
        payload: &[u8],
        timeout_ms: u64,
        ticket: Ticket,
    ) -> Result<(), Refusal> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(Refusal::new(
                code::TOO_LARGE,
                "the question is too long for a message between nodes",
            ));
        }
        if self.outgoing.fetch_add(1, Relaxed) >= OPEN_MAX {
            self.outgoing.fetch_sub(1, Relaxed);
            return Err(Refusal::new(code::BUSY, "too many questions to other nodes wait for an answer"));
        }
        let (completions, outgoing) = (self.completions.clone(), self.outgoing.clone());
        let payload = Bytes::copy_from_slice(payload);
        network.net.call(target, payload, Duration::from_millis(timeout_ms), move |answered| {
            outgoing.fetch_sub(1, Relaxed);
            completions.push_one(told(ticket, answered));
        });
        Ok(())
    }

    /// The node stops: whoever asks is told so by the ends of their connections.
    pub fn close(&self) {
        let mut incoming = self.incoming.lock();
        incoming.waiting.clear();
        incoming.open.clear();
    }
}

fn told(ticket: Ticket, answered: Result<(u16, Bytes), CallError>) -> Completion {
    let error = match answered {
        Ok((status, payload)) => {
            return Completion { ticket, status, index: 0, number: 0, text: payload.to_vec() };
        }
        Err(error) => error,
    };
    let code = match &error {
        CallError::Unreachable(_) | CallError::Refused(..) | CallError::Unanswered => code::UNREACHABLE,
        CallError::Busy => code::BUSY,
        CallError::TooLong => code::TOO_LARGE,
        CallError::Timeout => code::TIMEOUT,
    };
    Completion::refused(ticket, code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_wrong_on_the_way_has_a_code() {
        let cases = [
            (CallError::Unreachable("down".into()), code::UNREACHABLE),
            (CallError::Busy, code::BUSY),
            (CallError::TooLong, code::TOO_LARGE),
            (CallError::Timeout, code::TIMEOUT),
            (CallError::Unanswered, code::UNREACHABLE),
        ];
        for (error, expected) in cases {
            assert_eq!(told(4, Err(error)).status, expected);
        }
        let answer = told(4, Ok((2, Bytes::from_static(b"no such kind"))));
        assert_eq!((answer.ticket, answer.status, &answer.text[..]), (4, 2, &b"no such kind"[..]));
    }
}
