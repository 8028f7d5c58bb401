//! The HTTP listener, in the clear or over TLS, where HTTP/2 is spoken too: requests go to one answering
//! thread in batches, and connections that the server pushes to (event streams, WebSockets) are held in a few
//! hundred bytes each.
#![warn(missing_docs)]

mod accept;
mod answer;
mod connection;
mod events;
mod exchange;
mod frames;
mod h2;
mod handshake;
mod io;
mod line;
mod line_body;
mod line_task;
mod registry;
mod server;
mod serving;
mod stream;
mod tls;

pub use answer::{Answer, Head};
pub use events::{Event, Events, Piece, Request, Waiter};
pub use exchange::Exchange;
pub use line::{
    Credit, Framing, HIGH_WATER_BYTES, Line, LineEvent, LineUser, Message, OpenFailed, WAITING_MAX_BYTES,
};
pub use server::{Batch, Options, Server, Stats};
pub use tls::{ClientAuth, Tls, TlsInfo, TlsParts, cipher_names};
