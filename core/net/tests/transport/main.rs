//! Transports that talk to each other, and to those who should not get in, over real sockets on loopback.

mod calls;
mod hostile;
mod node;
mod peers;
mod relay;
mod secure;
mod snapshots;
