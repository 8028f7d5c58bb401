//! The HTTP/1.1 listener: requests go to one answering thread in batches, and connections that the server
//! pushes to (event streams, WebSockets) are held in a few hundred bytes each.
#![warn(missing_docs)]

mod answer;
mod connection;
mod events;
mod exchange;
mod frames;
mod handshake;
mod io;
mod line;
mod line_task;
mod registry;
mod server;
mod serving;

pub use answer::{Answer, Head};
pub use events::{Event, Events, Piece, Request, Waiter};
pub use exchange::Exchange;
pub use line::{
    Credit, Framing, HIGH_WATER_BYTES, Line, LineEvent, LineUser, Message, OpenFailed, WAITING_MAX_BYTES,
};
pub use server::{Batch, Options, Server, Stats};
