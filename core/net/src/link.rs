//! One connection after its first messages: a reader, a writer and a watch over both, in one task.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter};
use tokio::time::Instant;

use crate::counters::{Counters, add};
use crate::frame::{self, Decoder, FrameError, HEADER_BYTES, Kind, Message, SEGMENT_BYTES};
use crate::options::NetOptions;
use crate::queue::{Outgoing, Queue};

const BUFFER_BYTES: usize = 64 << 10;

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// By the other side or on the way.
    Io(io::Error),
    /// The other side sent what it may not.
    Frame(FrameError),
    /// Nothing came for too long.
    Quiet,
    /// The other side takes nothing.
    Stalled,
    /// The work is done.
    Done,
}

impl fmt::Display for Ended {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                write!(out, "closed by the other side")
            }
            Self::Io(error) => write!(out, "{error}"),
            Self::Frame(error) => write!(out, "it sent {error}"),
            Self::Quiet => write!(out, "nothing came from it for too long"),
            Self::Stalled => write!(out, "it took nothing for too long"),
            Self::Done => write!(out, "done"),
        }
    }
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<FrameError> for Ended {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

/// What a connection may do and how long it may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    ping: Duration,
    idle: Duration,
    stall: Duration,
}

impl Pace {
    pub fn of(options: &NetOptions) -> Self {
        Self {
            ping: Duration::from_millis(options.ping_ms.max(1)),
            idle: Duration::from_millis(options.idle_ms),
            stall: Duration::from_millis(options.stall_ms),
        }
    }
}

/// When the two halves last got on, in milliseconds since `began`.
struct Signs {
    began: Instant,
    heard: AtomicU64,
    wrote: AtomicU64,
    /// The writer has been at one segment since then; 0: it is waiting for work.
    writing_since: AtomicU64,
}

impl Signs {
    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64 + 1
    }

    fn is_older(&self, sign: &AtomicU64, than: Duration) -> bool {
        self.now().saturating_sub(sign.load(Ordering::Relaxed)) > than.as_millis() as u64
    }
}

/// Reads and writes until one side has enough. `take` gets every message but pings, and ends the connection
/// with an error.
pub(crate) async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    queue: &Queue,
    decoder: Decoder,
    pace: Pace,
    counters: &Counters,
    mut take: impl FnMut(Message) -> Result<(), Ended>,
) -> Ended {
    let signs = Signs {
        began: Instant::now(),
        heard: AtomicU64::new(1),
        wrote: AtomicU64::new(1),
        writing_since: AtomicU64::new(0),
    };
    let (reader, writer) = tokio::io::split(stream);
    let ended = tokio::select! {
        ended = read(reader, decoder, &signs, counters, &mut take) => ended,
        ended = write(writer, queue, &signs, counters) => ended,
        ended = watch(queue, pace, &signs) => Err(ended),
    };
    match ended {
        Ok(()) => Ended::Done,
        Err(ended) => ended,
    }
}

async fn read<S: AsyncRead + Unpin>(
    mut stream: S,
    mut decoder: Decoder,
    signs: &Signs,
    counters: &Counters,
    take: &mut impl FnMut(Message) -> Result<(), Ended>,
) -> Result<(), Ended> {
    let mut buffer = BytesMut::with_capacity(BUFFER_BYTES);
    loop {
        let got = stream.read_buf(&mut buffer).await?;
        if got == 0 {
            return Err(Ended::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        add(&counters.bytes_received, got as u64);
        signs.heard.store(signs.now(), Ordering::Relaxed);
        while let Some(message) = decoder.next(&mut buffer)? {
            if message.kind != Kind::Ping {
                take(message)?;
            }
        }
        if buffer.is_empty() && buffer.capacity() < BUFFER_BYTES / 4 {
            buffer.reserve(BUFFER_BYTES);
        }
    }
}

async fn write<S: AsyncWrite + Unpin>(
    stream: S,
    queue: &Queue,
    signs: &Signs,
    counters: &Counters,
) -> Result<(), Ended> {
    let mut stream = BufWriter::with_capacity(BUFFER_BYTES, stream);
    loop {
        // Whatever waits goes out together; only then the buffer is flushed.
        let message = match queue.pop() {
            Some(message) => message,
            None => {
                signs.writing_since.store(signs.now(), Ordering::Relaxed);
                stream.flush().await?;
                signs.writing_since.store(0, Ordering::Relaxed);
                queue.next().await
            }
        };
        let mut body = message.body.clone();
        while body.len() > SEGMENT_BYTES {
            let part = body.split_to(SEGMENT_BYTES);
            segment(&mut stream, &message, false, &part, signs, counters).await?;
            while let Some(urgent) = queue.pop_urgent() {
                segment(&mut stream, &urgent, true, &urgent.body, signs, counters).await?;
            }
        }
        segment(&mut stream, &message, true, &body, signs, counters).await?;
        if message.kind == Kind::Frame {
            add(&counters.frames_sent, 1);
        }
    }
}

async fn segment<S: AsyncWrite + Unpin>(
    stream: &mut S,
    message: &Outgoing,
    is_last: bool,
    body: &[u8],
    signs: &Signs,
    counters: &Counters,
) -> io::Result<()> {
    signs.writing_since.store(signs.now(), Ordering::Relaxed);
    stream.write_all(&frame::header(message.kind, is_last, message.is_urgent, body)).await?;
    stream.write_all(body).await?;
    signs.writing_since.store(0, Ordering::Relaxed);
    signs.wrote.store(signs.now(), Ordering::Relaxed);
    add(&counters.bytes_sent, (HEADER_BYTES + body.len()) as u64);
    Ok(())
}

/// Says "I am here" while there is nothing else to say, and ends a connection that is dead or stuck: after a
/// partition TCP itself may stay silent for longer than the partition lasted.
async fn watch(queue: &Queue, pace: Pace, signs: &Signs) -> Ended {
    let mut tick = tokio::time::interval(pace.ping / 2);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut looked = Instant::now();
    loop {
        tick.tick().await;
        // A process that slept itself must read what came meanwhile before it judges others.
        let was_asleep = looked.elapsed() > pace.idle / 2;
        looked = Instant::now();
        if was_asleep {
            continue;
        }
        if signs.is_older(&signs.heard, pace.idle) {
            return Ended::Quiet;
        }
        let writing = signs.writing_since.load(Ordering::Relaxed);
        if writing != 0 && signs.now().saturating_sub(writing) > pace.stall.as_millis() as u64 {
            return Ended::Stalled;
        }
        if signs.is_older(&signs.wrote, pace.ping / 2) {
            queue.push(Kind::Ping, Bytes::new(), true);
        }
    }
}
