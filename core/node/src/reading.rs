//! How the driver confirms reads: as a leader for itself and its followers, as a follower by asking.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use crate::code;
use crate::driver::{Broken, Driver};
use crate::forward_wire::{ReadAnswer, ReadAsk};
use crate::inbox::Consistency;

/// A follower's question is kept for so long; it asks again.
const ASK_KEPT_MS: u64 = 10_000;

impl Driver {
    /// Asks for and serves the reads that wait.
    pub(crate) fn serve_barriers(&mut self, now_ms: u64) -> Result<(), Broken> {
        if self.barriers.is_empty() {
            return Ok(());
        }
        self.barriers.serve_index(self.machine.tables().index(), &mut self.answers);
        if !self.is_formed() {
            if let Some((code, message)) = self.refusal(now_ms) {
                self.barriers.refuse_unconfirmed(code, message, &mut self.answers);
            }
            return Ok(());
        }
        if self.is_leader() {
            self.confirm_by_quorum(now_ms)?;
        } else {
            self.ask_leader(now_ms);
        }
        let has_lease = self.has_lease(now_ms);
        let reached = (self.applied_index(), self.machine.tables().index());
        for (peer, answer) in self.barriers.serve(reached, has_lease, &mut self.answers) {
            self.group.peers.send(peer, answer.encode());
        }
        Ok(())
    }

    fn confirm_by_quorum(&mut self, now_ms: u64) -> Result<(), Broken> {
        let has_lease = self.has_lease(now_ms);
        if self.raft.raft.commit_to_current_term()
            && let Some(context) = self.barriers.next_round(has_lease)
        {
            self.shared.metrics.read_rounds.fetch_add(1, Relaxed);
            self.raft.read_index(context);
            self.advance(now_ms)?;
        }
        Ok(())
    }

    fn ask_leader(&mut self, now_ms: u64) {
        let Some((leader, _)) = self.leader() else {
            if self.is_leaderless(now_ms) {
                let message = "no leader is known";
                self.barriers.refuse_unconfirmed(code::NO_LEADER, message, &mut self.answers);
            }
            return;
        };
        self.barriers.ask_again_late(now_ms, self.shared.options.election_ms / 2);
        let nonce = self.forwards.nonce();
        for consistency in [Consistency::Default, Consistency::Linearizable] {
            let Some(ask) = self.barriers.next_ask(nonce, consistency, now_ms) else { continue };
            self.shared.metrics.read_asks.fetch_add(1, Relaxed);
            // What does not leave is asked again when it had no answer for a while.
            self.group.peers.send(leader, ask.encode());
        }
    }

    /// True when no leader was known for as long as anybody waits for one.
    fn is_leaderless(&self, now_ms: u64) -> bool {
        let wait_ms = self.shared.options.cluster.as_ref().map_or(0, |cluster| cluster.leader_wait_ms);
        self.forwards.leaderless_at_ms().is_some_and(|at_ms| now_ms >= at_ms.saturating_add(wait_ms))
    }

    pub(crate) fn take_read_ask(&mut self, from: u64, body: Bytes, now_ms: u64) {
        let Some(ask) = ReadAsk::decode(body) else { return };
        if self.is_leader() {
            self.barriers.add_peer(from, ask, now_ms + ASK_KEPT_MS);
            self.deadline_ms = self.deadline_ms.min(now_ms + ASK_KEPT_MS);
        } else {
            let elsewhere = ReadAnswer { nonce: ask.nonce, round: ask.round, raft_index: 0 };
            self.group.peers.send(from, elsewhere.encode());
        }
    }

    pub(crate) fn take_read_answer(&mut self, from: u64, body: Bytes) {
        let Some(answer) = ReadAnswer::decode(body) else { return };
        let is_leaders = self.leader().is_some_and(|(leader, _)| leader == from);
        if is_leaders && answer.nonce == self.forwards.nonce() {
            self.barriers.hear(answer);
        }
    }
}
