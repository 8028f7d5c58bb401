//! What only a node of a group can do, as callers ask for it; a lone node refuses by name.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use bytes::Bytes;
use konsul_net::Target;
use konsul_state::apply::Refusal;
use konsul_views::{Form, Spec};

use crate::calls::Call;
use crate::code;
use crate::completions::Ticket;
use crate::inbox::Event;
use crate::leader_lease::holds;
use crate::members::{Member, MemberChange};
use crate::network::Network;
use crate::node::Node;
use crate::shared::Role;
use crate::watches::Seen;
use konsul_state::msgpack::{Cursor, Malformed, Value};

impl Node {
    fn network(&self) -> Result<&Network, Refusal> {
        let lone = || Refusal::new(code::UNSUPPORTED, "clustering is not enabled on this node");
        self.network.as_deref().ok_or_else(lone)
    }

    fn ask(&self, timeout_ms: u64, event: impl FnOnce(Ticket, u64) -> Event) -> Result<Ticket, Refusal> {
        self.network()?;
        self.check_running()?;
        let (ticket, deadline_ms) = self.ticket(timeout_ms);
        self.send(event(ticket, deadline_ms))?;
        Ok(ticket)
    }

    /// True if a read of [`crate::Consistency::Default`] that starts now may be served without a barrier.
    pub fn is_current(&self) -> bool {
        holds(self.shared.gauges.current_until_ms.load(Acquire), || self.shared.clock.now_ms())
    }

    /// Whether a leader is known, milliseconds since it was heard of (on a leader: since a quorum was), the
    /// index of the tables here.
    pub fn contact(&self) -> (bool, u64, u64) {
        let gauges = &self.shared.gauges;
        let index = self.shared.tables().index();
        let heard_ms = gauges.contact_ms.load(Relaxed);
        if self.network.is_none() {
            return (self.shared.role() == Role::Leader, 0, index);
        }
        let since_ms = self.shared.clock.now_ms().saturating_sub(heard_ms);
        (gauges.leader_id.load(Relaxed) != 0, since_ms, index)
    }

    /// Makes a group of this fresh node.
    pub fn bootstrap(&self, timeout_ms: u64) -> Result<Ticket, Refusal> {
        self.ask(timeout_ms, |ticket, deadline_ms| Event::Bootstrap { ticket, deadline_ms })
    }

    /// Binds this fresh node to a group.
    pub fn adopt(&self, cluster_id: &str, timeout_ms: u64) -> Result<Ticket, Refusal> {
        let is_id = cluster_id.len() == 16 && cluster_id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let parsed = is_id.then(|| u64::from_str_radix(cluster_id, 16).ok()).flatten();
        let cluster_id = parsed
            .ok_or_else(|| Refusal::invalid(format!("cluster id {cluster_id:?} is not 16 hex digits")))?;
        self.ask(timeout_ms, |ticket, deadline_ms| Event::Adopt { ticket, cluster_id, deadline_ms })
    }

    /// One change of the group's members, see `python/konsul/_core.pyi`.
    pub fn change_members(&self, op: &[u8], timeout_ms: u64) -> Result<Ticket, Refusal> {
        self.network()?;
        let change = read_change(op)?;
        self.ask(timeout_ms, |ticket, deadline_ms| Event::ChangeMembers { ticket, change, deadline_ms })
    }

    /// Hands leadership to a voter; 0: the one that is furthest.
    pub fn transfer(&self, raft_id: u64, timeout_ms: u64) -> Result<Ticket, Refusal> {
        self.ask(timeout_ms, |ticket, deadline_ms| Event::Transfer { ticket, to: raft_id, deadline_ms })
    }

    /// Reads the certificates for peers anew.
    pub fn reload_tls(&self) -> Result<(), Refusal> {
        self.network()?.net.reload_tls().map_err(Refusal::invalid)
    }

    /// Asks a member, or with id 0 whoever listens at `address`.
    pub fn call(
        &self,
        raft_id: u64,
        address: &str,
        payload: &[u8],
        timeout_ms: u64,
    ) -> Result<Ticket, Refusal> {
        let network = self.network()?;
        self.check_running()?;
        if raft_id == 0 && address.is_empty() {
            return Err(Refusal::invalid("a call needs a member or an address"));
        }
        let (ticket, _) = self.ticket(timeout_ms);
        let target = Target { raft_id, address: address.into() };
        self.calls.ask(network, target, payload, timeout_ms, ticket)?;
        Ok(ticket)
    }

    /// Takes questions of other nodes.
    pub fn calls(&self, limit: usize) -> Vec<Call> {
        self.calls.take(limit)
    }

    /// Answers one of them.
    pub fn answer(&self, call_id: u64, status: u16, payload: &[u8]) {
        self.calls.answer(call_id, status, payload);
    }

    /// A renewal that this node cannot decide by itself.
    pub(crate) fn pass_on_renewal(&self, table: u16, key: &[u8], timeout_ms: u64) -> Result<Ticket, Refusal> {
        let bytes = key.len() as u64;
        let waiter = self.waiter(bytes, timeout_ms)?;
        let ticket = waiter.ticket;
        self.send(Event::Renew { waiter, table, key: Bytes::copy_from_slice(key) })
            .inspect_err(|_| self.shared.release(bytes))?;
        Ok(ticket)
    }

    /// Opens a watch; what it sees is taken by [`Node::watched`].
    ///
    /// # Errors
    /// `INVALID` for what cannot be watched, `TOO_MANY` if as many are open as may be, `STOPPING`.
    pub fn watch(&self, spec: Spec, form: Option<Arc<Form>>, since: Option<u64>) -> Result<u64, Refusal> {
        self.check_running()?;
        self.shared.watches.watch(spec, form, since)
    }

    /// Ends a watch; nothing if there is none.
    pub fn unwatch(&self, watch: u64) {
        self.shared.watches.unwatch(watch);
    }

    /// Hands out nothing of a watch until it is resumed, but that it is behind.
    pub fn pause_watch(&self, watch: u64) {
        self.shared.watches.pause(watch);
    }

    /// Goes on with a paused watch.
    pub fn resume_watch(&self, watch: u64) {
        self.shared.watches.resume(watch);
    }

    /// Every matching change up to this index was handed out; none if there is no such watch.
    pub fn watch_position(&self, watch: u64) -> Option<u64> {
        self.shared.watches.position(watch)
    }

    /// Takes at most `limit` of what watches saw.
    pub fn watched(&self, limit: usize) -> Seen {
        self.shared.watches.take(limit)
    }
}

fn read_change(op: &[u8]) -> Result<MemberChange, Refusal> {
    let malformed = |error: Malformed| Refusal::invalid(format!("the change is not readable: {error}"));
    let mut cursor = Cursor::new(op);
    let (mut kind, mut member) = (String::new(), Member::default());
    for _ in 0..cursor.map().map_err(malformed)? {
        let name = cursor.text().map_err(malformed)?;
        let value = cursor.value().map_err(malformed)?;
        let text = match value {
            Value::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        };
        match (name, value, text) {
            ("op", _, Some(text)) => kind = text,
            ("raft_id", Value::Unsigned(id), _) => member.raft_id = id,
            ("node_id", _, Some(text)) => member.node_id = text,
            ("address", _, Some(text)) => member.address = text,
            ("http_address", _, Some(text)) => member.http_address = text,
            ("zone", _, Some(text)) => member.zone = text,
            ("version", _, Some(text)) => member.version = text,
            ("log_version", Value::Unsigned(number), _) => {
                member.log_version = u32::try_from(number).unwrap_or(u32::MAX);
            }
            ("read_only", Value::Bool(flag), _) => member.read_only = flag,
            (name, ..) => {
                return Err(Refusal::new(
                    code::INVALID,
                    format!("{name:?} of a change is not known or not its kind"),
                ));
            }
        }
    }
    Ok(match kind.as_str() {
        "add" => MemberChange::Add(member),
        "update" => MemberChange::Update(member),
        "promote" => MemberChange::Promote(member.raft_id),
        "demote" => MemberChange::Demote(member.raft_id),
        "remove" => MemberChange::Remove(member.raft_id),
        other => return Err(Refusal::invalid(format!("a change cannot be {other:?}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use konsul_state::msgpack::{write_map, write_text, write_unsigned};

    fn packed(op: &str, more: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        write_map(&mut out, 2 + more.len());
        for (name, text) in [&[("op", op)], more].concat() {
            write_text(&mut out, name.as_bytes());
            write_text(&mut out, text.as_bytes());
        }
        write_text(&mut out, b"raft_id");
        write_unsigned(&mut out, 9);
        out
    }

    #[test]
    fn a_change_is_read_or_refused_by_name() {
        assert_eq!(read_change(&packed("promote", &[])), Ok(MemberChange::Promote(9)));
        let member = Member { raft_id: 9, node_id: "n2".into(), ..Member::default() };
        assert_eq!(read_change(&packed("add", &[("node_id", "n2")])), Ok(MemberChange::Add(member)));
        for (op, more) in
            [("grow", &[][..]), ("add", &[("colour", "red")]), ("add", &[("log_version", "two")])]
        {
            assert_eq!(read_change(&packed(op, more)).unwrap_err().code, code::INVALID);
        }
        assert_eq!(read_change(b"\x81").unwrap_err().code, code::INVALID);
    }
}
