//! The listener: one thread with a runtime, who may connect, and the end.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::connection::{Conn, serve};
use crate::events::{Events, Wakes};
use crate::line::Line;
use crate::registry::Registry;

/// After a failed accept (no file descriptors left) the others get this long to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
const TURNS_PER_FLUSH: usize = 16;
const STOP_POLL: Duration = Duration::from_millis(5);
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nserver: konsul\r\nconnection: close\r\nretry-after: 1\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 32\r\n\r\nthe node has enough connections\n";

/// Every limit of a listener.
#[derive(Debug, Clone)]
pub struct Options {
    /// A request's head must be whole this long after the connection was ready for it; so a connection that
    /// is not used ends, too.
    pub head_timeout: Duration,
    /// More than this of a head is refused with 431; at least 8 KiB.
    pub head_max_bytes: usize,
    /// More connections than this are answered 503 at once.
    pub connections_max: usize,
    /// A client that takes nothing of its answer for this long is cut.
    pub write_timeout: Duration,
    /// WebSockets are pinged this often.
    pub ping_every: Duration,
    /// A WebSocket that does not answer its pings for this long is closed.
    pub pong_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(30),
            head_max_bytes: 256 << 10,
            connections_max: 20_000,
            write_timeout: Duration::from_secs(30),
            ping_every: Duration::from_secs(30),
            pong_max: Duration::from_secs(60),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) accepted: AtomicU64,
    pub(crate) refused_full: AtomicU64,
    pub(crate) accept_failures: AtomicU64,
    pub(crate) lines_overrun: AtomicU64,
}

/// What a listener has counted since its start, and what is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Connections that speak HTTP.
    pub connections: u64,
    /// Lines.
    pub lines: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Refused because there were too many.
    pub refused_full: u64,
    /// Failures of `accept`: no file descriptor, mostly.
    pub accept_failures: u64,
    /// Lines closed because too much waited for their client.
    pub lines_overrun: u64,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) events: Arc<Events>,
    pub(crate) wakes: Wakes,
    pub(crate) connections: Registry<Conn>,
    pub(crate) lines: Registry<Line>,
    pub(crate) stats: Counted,
    pub(crate) turns: AtomicUsize,
    pub(crate) is_stopping: AtomicBool,
    open: AtomicUsize,
    stop: Notify,
    grace: Mutex<Duration>,
}

impl Shared {
    /// Of a connection or a line. Every so many the answering thread is given what waits for it: a flood that
    /// keeps this thread busy would keep it from parking, and so from telling of anybody's requests.
    pub(crate) fn take_turn(&self) {
        if self.turns.fetch_add(1, Ordering::Relaxed).is_multiple_of(TURNS_PER_FLUSH) {
            self.events.flush();
        }
    }
}

/// A running listener.
pub struct Server {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Server {
    /// Starts to accept on `listener`.
    ///
    /// # Errors
    /// The system gives no thread or no event queue.
    pub fn start(listener: TcpListener, options: Options) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            options,
            events: Arc::default(),
            wakes: Wakes::default(),
            connections: Registry::default(),
            lines: Registry::default(),
            stats: Counted::default(),
            turns: AtomicUsize::new(0),
            is_stopping: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            stop: Notify::new(),
            grace: Mutex::new(Duration::ZERO),
        });
        let events = shared.events.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || events.flush())
            .build()?;
        let state = shared.clone();
        let thread = std::thread::Builder::new().name("http".to_owned()).spawn(move || {
            runtime.block_on(run(listener, state.clone()));
            // Ends what is left; each line tells its user.
            drop(runtime);
            state.events.close();
        })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Where the answering thread takes its work from.
    pub fn events(&self) -> &Arc<Events> {
        &self.shared.events
    }

    /// While the guard lives, answers are collected; dropping it sends them with one wake.
    pub fn batch(&self) -> Batch<'_> {
        self.shared.wakes.hold();
        Batch(&self.shared)
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        let counted = &self.shared.stats;
        let lines = self.shared.lines.len() as u64;
        Stats {
            connections: self.shared.connections.len() as u64,
            lines,
            accepted: counted.accepted.load(Ordering::Relaxed),
            refused_full: counted.refused_full.load(Ordering::Relaxed),
            accept_failures: counted.accept_failures.load(Ordering::Relaxed),
            lines_overrun: counted.lines_overrun.load(Ordering::Relaxed),
        }
    }

    /// Accepts no more, ends idle connections, gives the others up to `grace`, then cuts them. Waits for the
    /// end; the answering thread must go on meanwhile.
    pub fn stop(&self, grace: Duration) {
        let Some(thread) = self.thread.lock().take() else { return };
        *self.shared.grace.lock() = grace;
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        self.shared.stop.notify_one();
        // It has nothing that panics, and with panic = abort there would be nobody to tell.
        let _ = thread.join();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

/// See `Server::batch`.
pub struct Batch<'a>(&'a Shared);

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.0.wakes.release();
    }
}

async fn run(listener: TcpListener, shared: Arc<Shared>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let waking = shared.clone();
    tokio::spawn(async move {
        let mut due = Vec::new();
        std::future::poll_fn(|cx| {
            waking.wakes.take(cx.waker(), &mut due);
            due.drain(..).for_each(std::task::Waker::wake);
            Poll::<()>::Pending
        })
        .await;
    });
    let mut stop = pin!(shared.stop.notified());
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => admit(stream, client, &shared),
                Err(_) => {
                    shared.stats.accept_failures.fetch_add(1, Ordering::Relaxed);
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    wind_down(&shared).await;
}

fn admit(stream: TcpStream, client: SocketAddr, shared: &Arc<Shared>) {
    shared.stats.accepted.fetch_add(1, Ordering::Relaxed);
    if shared.open.load(Ordering::Relaxed) + shared.lines.len() >= shared.options.connections_max {
        shared.stats.refused_full.fetch_add(1, Ordering::Relaxed);
        // A new socket has room for a few bytes; if not, the client learns less.
        let _ = stream.try_write(FULL);
        return;
    }
    // Answers and events go out in whole writes: there is nothing to wait for.
    let _ = stream.set_nodelay(true);
    let conn = Arc::new(Conn::new(shared.clone(), client));
    let open = shared.clone();
    shared.open.fetch_add(1, Ordering::Relaxed);
    tokio::spawn(async move {
        serve(stream, conn).await;
        open.open.fetch_sub(1, Ordering::Relaxed);
    });
}

async fn wind_down(shared: &Arc<Shared>) {
    let deadline = Instant::now() + *shared.grace.lock();
    for conn in shared.connections.all() {
        conn.wake();
    }
    for line in shared.lines.all() {
        line.close(1001, "the node is stopping");
    }
    while Instant::now() < deadline && shared.open.load(Ordering::Relaxed) + shared.lines.len() > 0 {
        sleep(STOP_POLL).await;
    }
}
