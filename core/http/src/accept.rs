//! Who may connect, and the handshake before anything else is said.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::connection::{Conn, serve};
use crate::server::Shared;
use crate::stream::Stream;
use crate::tls::{Tls, TlsInfo};

const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nserver: konsul\r\nconnection: close\r\nretry-after: 1\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 32\r\n\r\nthe node has enough connections\n";
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nserver: konsul\r\nconnection: close\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 56\r\n\r\n\
    this port speaks HTTPS: use https:// instead of http://\n";
/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 0x16;
/// A client that was refused may still send: closing at once would take the refusal from it.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_READS: usize = 64;

/// The handshakes in flight, oldest first.
#[derive(Default)]
pub(crate) struct Handshakes {
    open: Mutex<(u64, BTreeMap<u64, AbortHandle>)>,
}

impl Handshakes {
    fn ticket(&self) -> u64 {
        let mut open = self.open.lock();
        open.0 += 1;
        open.0
    }

    /// If there are too many, the oldest goes: who says nothing loses its place, and not who comes.
    fn add(&self, ticket: u64, task: AbortHandle, most: usize) -> bool {
        let mut open = self.open.lock();
        open.1.insert(ticket, task);
        if open.1.len() <= most {
            return true;
        }
        let oldest = open.1.pop_first();
        drop(open);
        if let Some((_, task)) = oldest {
            task.abort();
        }
        false
    }

    fn remove(&self, ticket: u64) {
        self.open.lock().1.remove(&ticket);
    }

    pub(crate) fn len(&self) -> usize {
        self.open.lock().1.len()
    }
}

/// Counts a connection while it lives, also one whose task is aborted.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) fn admit(stream: TcpStream, client: SocketAddr, shared: &Arc<Shared>) {
    let tls = shared.tls.lock().clone();
    shared.stats.accepted.fetch_add(1, Ordering::Relaxed);
    if shared.open.load(Ordering::Relaxed) + shared.lines.len() >= shared.options.connections_max {
        shared.stats.refused_full.fetch_add(1, Ordering::Relaxed);
        if tls.is_none() {
            // A new socket has room for a few bytes; if not, the client learns less.
            let _ = stream.try_write(FULL);
        }
        return;
    }
    // Answers and events go out in whole writes: there is nothing to wait for.
    let _ = stream.set_nodelay(true);
    shared.open.fetch_add(1, Ordering::Relaxed);
    let open = Open(shared.clone());
    let Some(tls) = tls else {
        let conn = Arc::new(Conn::new(shared.clone(), client, None));
        tokio::spawn(async move {
            serve(Stream::Plain(stream), conn).await;
            drop(open);
        });
        return;
    };
    let ticket = shared.handshakes.ticket();
    let task = tokio::spawn(welcome(stream, client, open, tls, ticket));
    // The task has not run yet: it runs on this very thread.
    if !shared.handshakes.add(ticket, task.abort_handle(), shared.options.handshakes_max) {
        shared.stats.handshakes_cut.fetch_add(1, Ordering::Relaxed);
    }
}

async fn welcome(stream: TcpStream, client: SocketAddr, open: Open, tls: Tls, ticket: u64) {
    let shared = &open.0;
    // What a handshake needs is large: not part of this future, so that what follows is small.
    let shaken = timeout(shared.options.handshake_timeout, Box::pin(shake(stream, shared, tls))).await;
    shared.handshakes.remove(ticket);
    let Ok(shaken) = shaken else {
        shared.stats.handshake_failures.fetch_add(1, Ordering::Relaxed);
        return;
    };
    if let Some((stream, info)) = shaken {
        serve(stream, Arc::new(Conn::new(shared.clone(), client, Some(info)))).await;
    }
}

async fn shake(stream: TcpStream, shared: &Arc<Shared>, tls: Tls) -> Option<(Stream, Arc<TlsInfo>)> {
    shared.take_turn();
    let mut first = [0];
    // Who leaves without a word has not failed: so does whoever looks whether the port is open.
    if stream.peek(&mut first).await.ok()? == 0 {
        return None;
    }
    if first[0] != HANDSHAKE {
        shared.stats.not_tls.fetch_add(1, Ordering::Relaxed);
        // Of what is not TLS, only what looks like a request is answered.
        if first[0].is_ascii_uppercase() {
            refuse(stream).await;
        }
        return None;
    }
    let Ok(stream) = TlsAcceptor::from(tls.0).accept(stream).await else {
        shared.stats.handshake_failures.fetch_add(1, Ordering::Relaxed);
        return None;
    };
    shared.stats.handshakes.fetch_add(1, Ordering::Relaxed);
    let info = Arc::new(TlsInfo::of(stream.get_ref().1));
    Some((Stream::Tls(Box::new(stream)), info))
}

/// Tells a client that speaks HTTP in the clear what is spoken here.
async fn refuse(mut stream: TcpStream) {
    let _ = timeout(LINGER, async {
        stream.write_all(NOT_TLS).await?;
        stream.shutdown().await?;
        let mut rest = [0; 1 << 10];
        for _ in 0..LINGER_READS {
            if stream.read(&mut rest).await? == 0 {
                break;
            }
        }
        std::io::Result::Ok(())
    })
    .await;
}
