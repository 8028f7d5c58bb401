//! The listener: one thread with a runtime, who may connect, and the end.

use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use crate::accept::{Handshakes, admit};
use crate::connection::Conn;
use crate::events::{Events, Wakes};
use crate::line::Line;
use crate::registry::Registry;
use crate::tls::Tls;

/// After a failed accept (no file descriptors left) the others get this long to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
const TURNS_PER_FLUSH: usize = 16;
const ACCEPTS_PER_TURN: usize = 16;
const STOP_POLL: Duration = Duration::from_millis(5);
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
    /// A TLS handshake must be over this long after the connection was accepted.
    pub handshake_timeout: Duration,
    /// More handshakes in flight than this, and the oldest is given up.
    pub handshakes_max: usize,
    /// More requests in flight over HTTP/2 than this are answered 503.
    pub streams_max: usize,
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
            handshake_timeout: Duration::from_secs(10),
            handshakes_max: 1_000,
            streams_max: 20_000,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) accepted: AtomicU64,
    pub(crate) refused_full: AtomicU64,
    pub(crate) accept_failures: AtomicU64,
    pub(crate) lines_overrun: AtomicU64,
    pub(crate) handshakes: AtomicU64,
    pub(crate) handshake_failures: AtomicU64,
    pub(crate) handshakes_cut: AtomicU64,
    pub(crate) not_tls: AtomicU64,
    pub(crate) streams_refused: AtomicU64,
    pub(crate) floods: AtomicU64,
}

/// What a listener has counted since its start, and what is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Connections that speak HTTP, each counted once however many streams it has.
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
    /// TLS handshakes in flight.
    pub handshaking: u64,
    /// Requests in flight over HTTP/2, lines among them.
    pub streams: u64,
    /// TLS handshakes that succeeded.
    pub handshakes: u64,
    /// That failed or took too long.
    pub handshake_failures: u64,
    /// That were given up because there were too many.
    pub handshakes_cut: u64,
    /// Connections that did not speak TLS where they should have.
    pub not_tls: u64,
    /// Requests refused because too many were in flight over HTTP/2.
    pub streams_refused: u64,
    /// Connections ended because their client took back too many requests.
    pub floods: u64,
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
    pub(crate) open: AtomicUsize,
    /// Requests in flight over HTTP/2.
    pub(crate) streams: AtomicUsize,
    pub(crate) handshakes: Handshakes,
    pub(crate) tls: Mutex<Option<Tls>>,
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
    /// Starts to accept on `listener`; with `tls`, nothing else is spoken there.
    ///
    /// # Errors
    /// The system gives no thread or no event queue.
    pub fn start(listener: TcpListener, options: Options, tls: Option<Tls>) -> io::Result<Self> {
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
            streams: AtomicUsize::new(0),
            handshakes: Handshakes::default(),
            tls: Mutex::new(tls),
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

    /// From now on handshakes use these files. What is connected stays.
    pub fn set_tls(&self, tls: Tls) {
        *self.shared.tls.lock() = Some(tls);
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
            handshaking: self.shared.handshakes.len() as u64,
            streams: self.shared.streams.load(Ordering::Relaxed) as u64,
            handshakes: counted.handshakes.load(Ordering::Relaxed),
            handshake_failures: counted.handshake_failures.load(Ordering::Relaxed),
            handshakes_cut: counted.handshakes_cut.load(Ordering::Relaxed),
            not_tls: counted.not_tls.load(Ordering::Relaxed),
            streams_refused: counted.streams_refused.load(Ordering::Relaxed),
            floods: counted.floods.load(Ordering::Relaxed),
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
    let mut accepted = 0_usize;
    loop {
        accepted += 1;
        if accepted.is_multiple_of(ACCEPTS_PER_TURN) {
            // Who floods the node with connections must not keep others from being read and answered.
            shared.events.flush();
            yield_now().await;
        }
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
