//! The transport between the nodes of a cluster: it carries bytes and knows nothing of what they mean.
//!
//! [`Net`] holds the connections, a [`Handler`] is told what comes. Frames go between members and may be lost
//! (`send` says so where it knows); calls have answers; snapshots have connections of their own.
#![warn(missing_docs)]

mod calls;
mod counters;
mod frame;
mod greeting;
mod handler;
mod link;
mod listener;
mod net;
mod notes;
mod options;
mod peers;
mod queue;
mod receive;
mod refusal;
mod ship;
mod stream;
mod tls;

pub use calls::{CallError, Reply};
pub use counters::Counted;
pub use handler::{Caller, Handler, Shipment, Sink, Target};
pub use net::Net;
pub use notes::Note;
pub use options::{Hello, NetOptions, TlsFiles};
pub use refusal::Refusal;
pub use tls::PEER_NAME;
