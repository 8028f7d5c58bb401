//! Messages under way: frames and snapshots between nodes, requests and answers of clients.

use bytes::Bytes;
use konsul_node::Consistency;
use konsul_state::store::Store as _;

use crate::clients::{Answer, Ask, Attempt, Next, Read};
use crate::history::{Kind, Outcome};
use crate::invariants::Fallen;
use crate::machine::Waiter;
use crate::workload;
use crate::world::{Happening, Transfer, World, store_failed};

/// Requests and answers of clients that are lost, of a thousand, while faults go on.
const CLIENT_LOSS_PER_MILLE: u64 = 10;

impl World {
    /// The machine that holds the data of this node now.
    pub fn slot_of(&self, raft_id: u64) -> Option<usize> {
        self.machines.iter().position(|machine| raft_id != 0 && machine.raft_id() == raft_id)
    }

    /// Gives a frame to the network.
    pub fn send_frame(&mut self, slot: usize, to: u64, frame: Bytes) {
        let Some(to_slot) = self.slot_of(to) else {
            self.counts.add("message to a machine that is gone");
            return;
        };
        let (now_us, from) = (self.now_us(), self.machines[slot].raft_id());
        let cluster_id = self.cluster_of(slot);
        self.counts.add("message sent");
        let arrivals = self.network.carry(slot, to_slot, now_us, &mut self.counts);
        if arrivals.is_empty() && self.prng.chance(100) {
            // A broken connection is noticed now and then.
            self.tell_unreachable(slot, to);
        }
        let is_late =
            !self.is_calm && is_vote_request(&frame) && self.prng.chance(self.profile.late_votes_per_mille);
        let late_us = if is_late { self.prng.between(0, self.profile.election_ms * 900) } else { 0 };
        for at_us in arrivals {
            let at_us = at_us + late_us;
            let frame = frame.clone();
            self.schedule.at(at_us, Happening::Frame { slot: to_slot, from, to, cluster_id, frame });
        }
    }

    fn cluster_of(&self, slot: usize) -> u64 {
        self.machines[slot].process.as_ref().map_or(0, |process| process.peers.cluster_id())
    }

    fn tell_unreachable(&mut self, slot: usize, to: u64) {
        if let Some(process) = self.machines[slot].process.as_mut() {
            process.post.unreachable(to);
            self.nudge(slot);
        }
    }

    /// A frame is there. The transport has checked whom it is from and for.
    pub fn take_frame(&mut self, slot: usize, from: u64, to: u64, cluster_id: u64, frame: Bytes) {
        let machine = &mut self.machines[slot];
        let is_for_it = machine.raft_id() == to;
        let Some(process) = machine.process.as_mut() else { return };
        self.trace.say(|| format!("{slot} hears {from:x}: {}", describe(&frame)));
        if is_for_it && process.peers.takes(from, cluster_id) {
            process.post.frame(from, frame);
            self.nudge(slot);
        } else {
            self.counts.add("message refused by the transport");
        }
    }

    /// A snapshot sets out.
    pub fn send_snapshot(&mut self, slot: usize, life: u64, to: u64, header: Bytes, mut content: Vec<u8>) {
        self.counts.add("snapshot sent");
        let from = self.machines[slot].raft_id();
        let Some(to_slot) = self.slot_of(to) else {
            let lost = Happening::Shipped { slot, life, to, is_ok: false };
            self.schedule.after(10_000, lost);
            return;
        };
        let is_lossy = !self.is_calm && self.prng.chance(self.profile.transfer_loss_per_mille);
        if is_lossy {
            // It breaks off somewhere; the receiver must notice.
            let bytes = content.len() as u64;
            content.truncate(self.prng.below(bytes) as usize);
        }
        let in_us = self.network.transfer_us(slot, to_slot, content.len() as u64);
        let shipment = Transfer { from, from_slot: slot, from_life: life, header, content };
        let shipment = Box::new(shipment);
        self.schedule.after(in_us, Happening::Snapshot { slot: to_slot, to, shipment });
    }

    /// A snapshot has come, or a part of one.
    pub fn take_snapshot(&mut self, slot: usize, to: u64, shipment: Transfer) {
        let Transfer { from, from_slot, from_life, header, content } = shipment;
        let is_open = self.network.is_open(from_slot, slot) && self.network.is_open(slot, from_slot);
        let cluster_id = self.cluster_of(from_slot);
        let machine = &mut self.machines[slot];
        let is_for_it = machine.raft_id() == to && !machine.is_paused;
        let is_ok = match machine.process.as_mut() {
            Some(process) if is_open && is_for_it && process.peers.takes(from, cluster_id) => {
                let received = process.post.begin_snapshot(from, &header).and_then(|mut sink| {
                    sink.write_all(&content)?;
                    sink.finish()
                });
                if received.is_ok() {
                    process.post.received(from, header);
                }
                received.is_ok()
            }
            _ => false,
        };
        self.counts.add(if is_ok { "snapshot received" } else { "snapshot lost or broken off" });
        self.note(slot, "snapshot arrives", [from, content.len() as u64, u64::from(is_ok)]);
        let in_us = self.prng.tailed(500);
        self.schedule.after(in_us, Happening::Shipped { slot: from_slot, life: from_life, to, is_ok });
        if is_ok {
            self.nudge(slot);
        }
    }

    /// A client begins.
    pub fn begin(&mut self, client: usize) -> Result<(), Fallen> {
        if self.is_calm {
            return Ok(());
        }
        let now_us = self.now_us();
        self.clients[client].begin(now_us);
        self.ask(client);
        Ok(())
    }

    fn ask(&mut self, client: usize) {
        let slots = self.machines.len();
        let Some((attempt, slot, ask)) = self.clients[client].attempt(slots) else { return };
        let patience_us = self.profile.patience_ms * 1_000;
        self.schedule.after(patience_us, Happening::Impatient { attempt });
        self.counts.add("client: request");
        if self.is_calm || !self.prng.chance(CLIENT_LOSS_PER_MILLE) {
            let in_us = self.prng.tailed(300);
            self.schedule.after(in_us, Happening::Ask { slot, attempt, ask });
        }
    }

    /// A request is there.
    pub fn take_ask(&mut self, slot: usize, attempt: Attempt, ask: Ask) -> Result<(), Fallen> {
        if self.machines[slot].is_paused {
            // It waits in the socket's buffer.
            self.schedule.after(7_000, Happening::Ask { slot, attempt, ask });
            return Ok(());
        }
        let patience_ms = self.profile.patience_ms;
        let now_us = self.now_us();
        let machine = &mut self.machines[slot];
        machine.clocks.set(now_us);
        let Some(process) = machine.process.as_mut() else {
            self.reply(attempt, Answer::Refused);
            return Ok(());
        };
        let (ticket, waiter) = match ask {
            Ask::Write { wish, request_id } => {
                let ticket = process.replica.submit(&workload::cases(&wish), Some(request_id), patience_ms);
                (ticket, Waiter::Write(attempt))
            }
            Ask::Get { key, read: Read::Default } if process.replica.peek().has_lease => {
                self.counts.add("client: read by lease");
                return self.read_now(slot, attempt, &key);
            }
            Ask::Get { key, read } => {
                let consistency = match read {
                    Read::Default => Consistency::Default,
                    Read::Linearizable => Consistency::Linearizable,
                };
                (process.replica.barrier(consistency, patience_ms), Waiter::Get(attempt, key, read))
            }
        };
        process.waiters.insert(ticket, waiter);
        self.nudge(slot);
        Ok(())
    }

    /// Reads a key on a machine and answers with it.
    pub fn read_now(&mut self, slot: usize, attempt: Attempt, key: &str) -> Result<(), Fallen> {
        let store = self.machines[slot].store.read().map_err(store_failed)?;
        let found = workload::get(&store, key).map_err(store_failed)?;
        drop(store);
        self.reply(attempt, Answer::Found(found));
        Ok(())
    }

    /// Sends an answer to its client.
    pub fn reply(&mut self, attempt: Attempt, answer: Answer) {
        if self.is_calm || !self.prng.chance(CLIENT_LOSS_PER_MILLE) {
            let in_us = self.prng.tailed(300);
            self.schedule.after(in_us, Happening::Answer { attempt, answer });
        }
    }

    /// A client hears an answer, or has waited long enough.
    pub fn take_answer(&mut self, attempt: Attempt, answer: &Answer) -> Result<(), Fallen> {
        let now_us = self.now_us();
        let next = self.clients[attempt.client].take(attempt, answer, now_us, &mut self.counts);
        match next {
            Next::Nothing => return Ok(()),
            Next::Again => {
                self.ask(attempt.client);
                return Ok(());
            }
            Next::Done(operation) => {
                let request = format!("c{}-{}", attempt.client, attempt.number);
                match (operation.kind, operation.outcome) {
                    (Kind::Get, Outcome::Ok) => self.counts.add("client: read answered"),
                    (Kind::Get, _) => self.counts.add("client: read not answered"),
                    (_, Outcome::Ok) => {
                        self.counts.add("client: write acknowledged");
                        let index = operation.index.unwrap_or(0);
                        self.promises.indexes.see(index, &request)?;
                        self.promises.acknowledged.see(&request, index);
                    }
                    (_, Outcome::Fail) => {
                        self.counts.add("client: write refused");
                        self.promises.once.refused(&request);
                    }
                    (_, Outcome::Unknown) => self.counts.add("client: write with unknown outcome"),
                }
                let outcome = operation.outcome as u64;
                self.note(
                    attempt.client + 100,
                    "done",
                    [attempt.number, outcome, operation.index.unwrap_or(0)],
                );
                // A certain refusal says nothing of the row.
                if *answer != Answer::Refused || operation.outcome != Outcome::Fail {
                    self.promises.clients.history.push(*operation);
                }
            }
        }
        let in_us = self.prng.tailed(self.profile.think_us);
        self.schedule.after(in_us, Happening::Begin { client: attempt.client });
        Ok(())
    }
}

fn is_vote_request(frame: &[u8]) -> bool {
    (frame.first(), frame.get(17)) == (Some(&1), Some(&2))
}

/// A frame's head for whoever reads a trace, see `wire.rs` of `core/node`.
fn describe(frame: &[u8]) -> String {
    let number =
        |at: usize| frame.get(at..at + 8).and_then(<[u8]>::first_chunk).map(|b| u64::from_le_bytes(*b));
    match (frame.first(), frame.get(17), number(1), number(9)) {
        (Some(1), Some(kind), Some(sent_ms), Some(echo_ms)) => {
            format!("raft type {kind} sent {sent_ms} ms echo {echo_ms} ms")
        }
        (kind, ..) => format!("kind {kind:?}, {} bytes", frame.len()),
    }
}
