//! What a member tells about its group: the `cluster` part of the status.

use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;

use crate::members::{LOG_VERSION, Member, Members};
use crate::network::Network;
use crate::node::Node;
use crate::shared::{GroupState, PeerView, Role};
use crate::status::quoted;

impl Node {
    /// Appends `,"cluster":{...}`; nothing for a lone node.
    pub(crate) fn write_cluster(&self, out: &mut String) {
        let (Some(network), Some(cluster)) = (&self.network, &self.shared.options.cluster) else { return };
        let members = self.shared.members();
        let (known_leader, last_contact_ms, _) = self.contact();
        let is_removed = self.shared.group() == GroupState::Formed && network.was_told_removed();
        let state = if is_removed { GroupState::Removed } else { self.shared.group() };
        let _ = write!(
            out,
            ",\"cluster\":{{\"state\":\"{}\",\"cluster_id\":\"{:016x}\",\"node_id\":{},\"raft_id\":{}\
             ,\"log_version\":{LOG_VERSION},\"leader_raft_id\":{},\"known_leader\":{known_leader}\
             ,\"last_contact_ms\":{last_contact_ms}",
            state.name(),
            self.shared.cluster_id(),
            quoted(&cluster.node_name),
            self.shared.raft_id(),
            self.shared.gauges.leader_id.load(Relaxed),
        );
        let _ = write!(
            out,
            ",\"lease\":{},\"transferring\":{},\"installing\":{},\"quorum\":{},\"members\":[",
            self.is_current(),
            self.shared.gauges.is_transferring.load(Relaxed),
            self.shared.gauges.is_installing.load(Relaxed),
            if members.is_empty() { 0 } else { members.quorum() },
        );
        let views = self.shared.peers.lock().clone();
        for (at, member) in members.list().iter().enumerate() {
            out.push_str(if at == 0 { "" } else { "," });
            let view = views.iter().find(|view| view.raft_id == member.raft_id);
            self.write_member(out, &members, member, view, network);
        }
        let _ = write!(out, "],\"net_events\":{}}}", network.events_json());
    }

    fn write_member(
        &self,
        out: &mut String,
        members: &Members,
        member: &Member,
        view: Option<&PeerView>,
        network: &Network,
    ) {
        let is_self = member.raft_id == self.shared.raft_id();
        out.push('{');
        members.write_member(out, member);
        let is_connected = is_self || network.net.is_connected(member.raft_id);
        let _ = write!(out, ",\"connected\":{is_connected}");
        let leads = self.shared.role() == Role::Leader;
        if leads && is_self {
            let last = self.shared.gauges.last_index.load(Relaxed);
            let _ = write!(out, ",\"match_index\":{last},\"last_contact_ms\":0,\"progress\":\"replicate\"");
        } else if let (true, Some(view)) = (leads, view) {
            let _ = write!(out, ",\"match_index\":{},\"progress\":\"{}\"", view.match_index, view.progress);
            if view.heard_ms > 0 {
                let since_ms = self.shared.clock.now_ms().saturating_sub(view.heard_ms);
                let _ = write!(out, ",\"last_contact_ms\":{since_ms}");
            }
        }
        out.push('}');
    }
}

impl Members {
    /// Appends what everybody knows of a member, without braces.
    pub(crate) fn write_member(&self, out: &mut String, member: &Member) {
        let _ = write!(
            out,
            "\"raft_id\":{},\"node_id\":{},\"address\":{},\"http_address\":{},\"zone\":{},\"version\":{}\
             ,\"log_version\":{},\"read_only\":{},\"role\":\"{}\"",
            member.raft_id,
            quoted(&member.node_id),
            quoted(&member.address),
            quoted(&member.http_address),
            quoted(&member.zone),
            quoted(&member.version),
            member.log_version,
            member.read_only,
            if self.is_voter(member.raft_id) { "voter" } else { "learner" },
        );
    }
}
