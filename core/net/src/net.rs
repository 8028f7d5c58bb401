//! The transport as the node holds it.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::calls::{CallError, CallLinks};
use crate::counters::{Counted, Counters};
use crate::handler::{Handler, Shipment, Target};
use crate::listener;
use crate::notes::{Note, Notes};
use crate::options::{Hello, NetOptions};
use crate::peers::Routes;
use crate::receive::Receiving;
use crate::ship::Shipping;
use crate::tls::{self, Tls};

const WORKER_THREADS: usize = 2;
/// Files of snapshots, and names that a resolver is slow to find.
const BLOCKING_THREADS_MAX: usize = 16;

/// What all tasks of one transport look at.
pub(crate) struct Shared {
    pub options: NetOptions,
    pub handler: Arc<dyn Handler>,
    pub counters: Counters,
    pub notes: Notes,
    pub routes: Routes,
    pub calls: CallLinks,
    pub shipping: Shipping,
    pub receiving: Receiving,
    hello: Mutex<Hello>,
    tls: Mutex<Option<Tls>>,
}

impl Shared {
    /// Who this node is now.
    pub fn hello(&self) -> Hello {
        self.hello.lock().clone()
    }

    /// The certificates for new connections.
    pub fn tls(&self) -> Option<Tls> {
        self.tls.lock().clone()
    }
}

/// A listening transport. Dropping it ends every connection.
pub struct Net {
    shared: Arc<Shared>,
    /// None once it was stopped.
    runtime: Mutex<Option<Runtime>>,
    tasks: Handle,
    address: SocketAddr,
}

impl Net {
    /// Listens and starts the threads. The error says which setting cannot work and why.
    pub fn start(options: NetOptions, hello: Hello, handler: Arc<dyn Handler>) -> Result<Self, String> {
        let place = resolve(&options.bind)?;
        let is_open = options.tls.is_none() && !place.ip().is_loopback();
        if is_open && !options.allow_plaintext {
            return Err(format!(
                "{} is not a loopback address, and peers would be spoken to without TLS: set \
                 KONSUL_RAFT_TLS_ENABLED with its files, or KONSUL_RAFT_ALLOW_PLAINTEXT=true on a network \
                 that nobody else can reach",
                options.bind
            ));
        }
        let tls = options.tls.as_ref().map(tls::load).transpose()?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKER_THREADS)
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_name("konsul-net")
            .enable_all()
            .build()
            .map_err(|error| format!("the threads of the peer transport cannot be started: {error}"))?;
        let listener = {
            let _inside = runtime.enter();
            listen(&options.bind, place)?
        };
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let shared = Arc::new(Shared {
            shipping: Shipping::new(options.snapshot_rate_bytes),
            options,
            handler,
            counters: Counters::default(),
            notes: Notes::default(),
            routes: Routes::default(),
            calls: CallLinks::default(),
            receiving: Receiving::default(),
            hello: Mutex::new(hello),
            tls: Mutex::new(tls),
        });
        if is_open {
            shared.notes.warn(&address.to_string(), "plaintext", || {
                "peers are spoken to without TLS on an address others can reach: whoever reaches it can read \
                 and change everything (KONSUL_RAFT_ALLOW_PLAINTEXT)"
                    .to_owned()
            });
        }
        runtime.spawn(listener::accept(shared.clone(), listener));
        let tasks = runtime.handle().clone();
        Ok(Self { shared, runtime: Mutex::new(Some(runtime)), tasks, address })
    }

    /// Where it listens; the port is the real one.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The node belongs to a cluster from now on; new connections say so.
    pub fn set_cluster(&self, cluster_id: u64) {
        self.shared.hello.lock().cluster_id = cluster_id;
        // Pooled connections introduced this node as a stranger.
        self.shared.calls.forget();
    }

    /// The other members, as number and `host:port`: connections are held with them and nobody else.
    pub fn set_members(&self, members: &[(u64, String)]) {
        self.shared.routes.set(&self.shared, &self.tasks, members);
    }

    /// Sends a frame. False: it was dropped, because its peer is not connected or too much waits for it.
    /// Urgent frames (heartbeats, votes) pass others and have room of their own.
    pub fn send(&self, to: u64, frame: Bytes, is_urgent: bool) -> bool {
        self.shared.routes.send(&self.shared.counters, to, frame, is_urgent)
    }

    /// Sends a snapshot on a connection of its own; [`Handler::shipped`] is told how it ended. A second one
    /// for the same member takes the place of the first, of which nothing more is told.
    pub fn ship(&self, to: u64, shipment: Shipment) {
        self.shared.shipping.start(&self.shared, &self.tasks, to, shipment);
    }

    /// Asks `target`; `done` is called once, on a thread of the transport, with its status and answer.
    pub fn call(
        &self,
        target: Target,
        payload: Bytes,
        limit: Duration,
        done: impl FnOnce(Result<(u16, Bytes), CallError>) + Send + 'static,
    ) {
        let (shared, done) = (self.shared.clone(), Done(Some(done)));
        self.tasks.spawn(async move { done.tell(crate::calls::call(&shared, target, payload, limit).await) });
    }

    /// Reads the certificate files again. New connections use them, old ones go on; after an error everything
    /// stays as it was.
    pub fn reload_tls(&self) -> Result<(), String> {
        let files =
            self.shared.options.tls.as_ref().ok_or("peers are spoken to without TLS: nothing to reload")?;
        let fresh = tls::load(files)?;
        *self.shared.tls.lock() = Some(fresh);
        Ok(())
    }

    /// Whether frames for this member have a way.
    pub fn is_connected(&self, raft_id: u64) -> bool {
        self.shared.routes.is_connected(raft_id)
    }

    /// Bytes that wait for a member.
    pub fn waiting_bytes(&self, raft_id: u64) -> usize {
        self.shared.routes.waiting_bytes(raft_id)
    }

    /// What was counted since the start.
    pub fn counted(&self) -> Counted {
        self.shared.counters.read()
    }

    /// What an operator should hear of since the last time.
    pub fn take_notes(&self) -> Vec<Note> {
        self.shared.notes.take()
    }

    /// Ends every connection, within about a second.
    pub fn stop(&self) {
        let runtime = self.runtime.lock().take();
        if let Some(runtime) = runtime {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Who asked is told in any case, also when the transport stops first.
struct Done<F: FnOnce(Result<(u16, Bytes), CallError>)>(Option<F>);

impl<F: FnOnce(Result<(u16, Bytes), CallError>)> Done<F> {
    fn tell(mut self, answered: Result<(u16, Bytes), CallError>) {
        if let Some(done) = self.0.take() {
            done(answered);
        }
    }
}

impl<F: FnOnce(Result<(u16, Bytes), CallError>)> Drop for Done<F> {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done(Err(CallError::Unanswered));
        }
    }
}

fn resolve(bind: &str) -> Result<SocketAddr, String> {
    bind.to_socket_addrs()
        .map_err(|error| format!("{bind:?} is not a host:port to listen on for peers: {error}"))?
        .next()
        .ok_or_else(|| format!("{bind:?} has no address to listen on for peers"))
}

fn listen(bind: &str, place: SocketAddr) -> Result<TcpListener, String> {
    let words = |error: std::io::Error| {
        let what = match error.kind() {
            std::io::ErrorKind::AddrInUse => "another program listens there already".to_owned(),
            std::io::ErrorKind::AddrNotAvailable => "it is not an address of this machine".to_owned(),
            std::io::ErrorKind::PermissionDenied => "this user may not use that port".to_owned(),
            _ => error.to_string(),
        };
        format!("cannot listen for peers on {bind} (KONSUL_RAFT_BIND_ADDR): {what}")
    };
    let socket = match place {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4(),
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6(),
    };
    let socket = socket.map_err(words)?;
    // A restarted node must get its port back while connections of its last life linger.
    socket.set_reuseaddr(true).map_err(words)?;
    socket.bind(place).map_err(words)?;
    socket.listen(1_024).map_err(words)
}
