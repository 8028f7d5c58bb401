//! What only a node of a group can do, as callers ask for it; a lone node refuses by name.

use konsul_state::apply::Refusal;

use crate::code;
use crate::completions::Ticket;
use crate::node::Node;
use crate::shared::Role;

/// A question of another node that waits for an answer: id, the member who asks (0: none), its address, what
/// it says.
pub type Call = (u64, u64, String, Vec<u8>);

fn lone() -> Refusal {
    Refusal { code: code::UNSUPPORTED, message: "clustering is not enabled on this node".into() }
}

impl Node {
    /// True if a read of [`crate::Consistency::Default`] that starts now may be served without a barrier.
    pub fn is_current(&self) -> bool {
        self.shared.role() == Role::Leader
    }

    /// Whether a leader is known, milliseconds since it was heard of, the index of the tables here.
    pub fn contact(&self) -> (bool, u64, u64) {
        (self.shared.role() == Role::Leader, 0, self.shared.tables().index())
    }

    /// Makes a group of this fresh node.
    pub fn bootstrap(&self, _timeout_ms: u64) -> Result<Ticket, Refusal> {
        Err(lone())
    }

    /// Binds this fresh node to a group.
    pub fn adopt(&self, _cluster_id: &str, _timeout_ms: u64) -> Result<Ticket, Refusal> {
        Err(lone())
    }

    /// One change of the group's members, see `python/konsul/_core.pyi`.
    pub fn change_members(&self, _op: &[u8], _timeout_ms: u64) -> Result<Ticket, Refusal> {
        Err(lone())
    }

    /// Hands leadership to a voter; 0: the one that is furthest.
    pub fn transfer(&self, _raft_id: u64, _timeout_ms: u64) -> Result<Ticket, Refusal> {
        Err(lone())
    }

    /// Reads the certificates for peers anew.
    pub fn reload_tls(&self) -> Result<(), Refusal> {
        Err(lone())
    }

    /// Asks a member, or with id 0 whoever listens at `address`.
    pub fn call(
        &self,
        _raft_id: u64,
        _address: &str,
        _payload: &[u8],
        _timeout_ms: u64,
    ) -> Result<Ticket, Refusal> {
        Err(lone())
    }

    /// Takes questions of other nodes.
    pub fn calls(&self, _limit: usize) -> Vec<Call> {
        Vec::new()
    }

    /// Answers one of them.
    pub fn answer(&self, _call_id: u64, _status: u16, _payload: &[u8]) {}
}
