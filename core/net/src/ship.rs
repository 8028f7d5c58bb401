//! Sending a snapshot: a connection of its own, a pace, a window of what the receiver has not confirmed yet,
//! and another try from there when the connection breaks.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::counters::add;
use crate::frame::{self, Decoder, FrameError, Kind, Message};
use crate::greeting::Lane;
use crate::handler::Shipment;
use crate::link::{self, Ended, Pace};
use crate::net::Shared;
use crate::queue::{Queue, Room};
use crate::stream::{Backoff, dial};

/// The bytes of one chunk; with its number it fits into one segment.
pub(crate) const CHUNK_BYTES: usize = 248 << 10;
/// What is kept of the bytes already read, until the receiver confirms them.
pub(crate) const WINDOW_BYTES: u64 = 4 << 20;
/// The longest header.
pub(crate) const HEADER_BYTES_MAX: usize = 1 << 20;
const AT_ONCE: usize = 2;
const PAUSES_MS: (u64, u64) = (50, 2_000);
/// For the receiver to write a piece, or to check and keep what it holds.
const SILENCE: Duration = Duration::from_secs(300);

/// What all outgoing snapshots share.
pub(crate) struct Shipping {
    places: Semaphore,
    under_way: Mutex<HashMap<u64, AbortHandle>>,
    rate: u64,
    next: Mutex<Instant>,
}

impl Shipping {
    /// At most `rate` bytes per second; 0: as fast as it goes.
    pub fn new(rate: u64) -> Self {
        Self {
            places: Semaphore::new(AT_ONCE),
            under_way: Mutex::default(),
            rate,
            next: Mutex::new(Instant::now()),
        }
    }

    /// Sends one, in the place of another for the same member.
    pub fn start(&self, shared: &Arc<Shared>, tasks: &Handle, to: u64, shipment: Shipment) {
        let task = tasks.spawn(ship(shared.clone(), to, shipment)).abort_handle();
        let mut under_way = self.under_way.lock();
        under_way.retain(|_, task| !task.is_finished());
        if let Some(before) = under_way.insert(to, task) {
            before.abort();
        }
    }

    async fn pace(&self, bytes: usize) {
        if self.rate == 0 {
            return;
        }
        let at = {
            let mut next = self.next.lock();
            let at = (*next).max(Instant::now());
            *next = at + Duration::from_micros(bytes as u64 * 1_000_000 / self.rate);
            at
        };
        sleep_until(at).await;
    }
}

/// Sends one snapshot and tells the node above how it went.
async fn ship(shared: Arc<Shared>, to: u64, shipment: Shipment) {
    let outcome = match shared.shipping.places.acquire().await {
        Ok(_place) => Sending::new(shipment).all(&shared, to).await,
        Err(_) => Err("the node is stopping".to_owned()),
    };
    match &outcome {
        Ok(()) => add(&shared.counters.snapshots_sent, 1),
        Err(why) => {
            add(&shared.counters.snapshots_failed, 1);
            let address = shared.routes.address(to).unwrap_or_else(|| to.to_string());
            shared
                .notes
                .warn(&address, "snapshot", || format!("a snapshot for {address} did not arrive: {why}"));
        }
    }
    shared.handler.shipped(to, outcome);
}

/// What the receiver said last.
#[derive(Clone, Debug, Default)]
struct Heard {
    held: Option<u64>,
    outcome: Option<Result<(), String>>,
}

/// Why an attempt ended.
enum Stopped {
    /// Another attempt may go on.
    Broken(String),
    /// It will not do.
    Given(String),
}

struct Sending {
    header: Bytes,
    total: u64,
    reader: Option<Box<dyn Read + Send>>,
    /// A read under way; it outlives the connection it was begun for, or the file would be lost with it.
    reading: Option<JoinHandle<Filled>>,
    /// Read and not confirmed, by offset.
    window: VecDeque<(u64, Bytes)>,
    /// How far it was read.
    read: u64,
    sum: u32,
    confirmed: u64,
}

impl Sending {
    fn new(shipment: Shipment) -> Self {
        Self {
            header: shipment.header,
            total: shipment.total_bytes,
            reader: Some(shipment.reader),
            reading: None,
            window: VecDeque::new(),
            read: 0,
            sum: 0,
            confirmed: 0,
        }
    }

    /// As many attempts as it takes, as long as each gets on or the last one that did is not long ago.
    async fn all(&mut self, shared: &Arc<Shared>, to: u64) -> Result<(), String> {
        if self.header.len() > HEADER_BYTES_MAX {
            return Err(format!("its header has {} bytes, at most {HEADER_BYTES_MAX}", self.header.len()));
        }
        let mut backoff = Backoff::new(PAUSES_MS);
        let patience = Duration::from_millis(shared.options.resume_ms / 2);
        let mut last = (Instant::now(), 0);
        loop {
            match self.once(shared, to).await {
                Ok(()) => return Ok(()),
                Err(Stopped::Given(why)) => return Err(why),
                Err(Stopped::Broken(why)) => {
                    if self.confirmed > last.1 {
                        last = (Instant::now(), self.confirmed);
                        backoff.reset();
                    }
                    if last.0.elapsed() > patience {
                        return Err(why);
                    }
                }
            }
            sleep(backoff.pause()).await;
        }
    }

    async fn once(&mut self, shared: &Arc<Shared>, to: u64) -> Result<(), Stopped> {
        let address =
            shared.routes.address(to).ok_or(Stopped::Given("it is no member any more".to_owned()))?;
        let dialled = dial(shared, &address, Lane::Snapshot, to).await;
        let (stream, _) = dialled.map_err(|unreached| Stopped::Broken(unreached.to_string()))?;
        let room = Room { bytes: WINDOW_BYTES as usize * 2, frames: 256, urgent_frames: 8 };
        let queue = Queue::new(room);
        let (heard, mut hear) = watch::channel(Heard::default());
        let decoder = Decoder::new(1_024);
        let running =
            link::run(stream, &queue, decoder, Pace::of(&shared.options), &shared.counters, |message| {
                hearing(&heard, message)
            });
        tokio::select! {
            ended = running => Err(Stopped::Broken(ended.to_string())),
            result = self.feed(shared, &queue, &mut hear) => result,
        }
    }

    async fn feed(
        &mut self,
        shared: &Shared,
        queue: &Queue,
        hear: &mut watch::Receiver<Heard>,
    ) -> Result<(), Stopped> {
        queue.push(Kind::Offer, frame::numbered(self.total, &[&self.header]), false);
        let mut at = self.heard(hear, |heard| heard.held.is_some()).await?;
        let kept_from = self.window.front().map_or(self.read, |(offset, _)| *offset);
        if at < kept_from || at > self.read {
            return Err(Stopped::Given(format!("it holds {at} bytes of another attempt")));
        }
        if at > 0 {
            add(&shared.counters.snapshots_resumed, 1);
        }
        while at < self.total {
            self.heard(hear, |heard| at - heard.held.unwrap_or(0).min(at) < WINDOW_BYTES).await?;
            let chunk = self.chunk(at).await.map_err(Stopped::Given)?;
            shared.shipping.pace(chunk.len()).await;
            queue.push(Kind::Chunk, frame::numbered(at, &[&chunk]), false);
            at += chunk.len() as u64;
        }
        queue.push(Kind::End, Bytes::copy_from_slice(&self.sum.to_le_bytes()), false);
        self.heard(hear, |_| false).await.map(|_| ())
    }

    /// Waits until the receiver said what is enough; answers what it holds. Its outcome ends everything.
    async fn heard(
        &mut self,
        hear: &mut watch::Receiver<Heard>,
        is_enough: impl Fn(&Heard) -> bool,
    ) -> Result<u64, Stopped> {
        loop {
            let now = hear.borrow_and_update().clone();
            if let Some(held) = now.held {
                self.confirmed = held;
                while self.window.front().is_some_and(|(offset, bytes)| offset + bytes.len() as u64 <= held) {
                    self.window.pop_front();
                }
            }
            match now.outcome {
                Some(Ok(())) if self.confirmed == self.total => return Ok(self.total),
                Some(Ok(())) => {
                    return Err(Stopped::Given("it said it has all before it can have".to_owned()));
                }
                Some(Err(why)) => return Err(Stopped::Given(why)),
                None if is_enough(&now) => return Ok(now.held.unwrap_or(0)),
                None => {}
            }
            match timeout(SILENCE, hear.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Stopped::Broken("the connection ended".to_owned())),
                Err(_) => return Err(Stopped::Given("it did not get on with it in time".to_owned())),
            }
        }
    }

    /// The bytes at an offset: kept ones, or the next of the file.
    async fn chunk(&mut self, at: u64) -> Result<Bytes, String> {
        for (offset, bytes) in &self.window {
            if (*offset..offset + bytes.len() as u64).contains(&at) {
                return Ok(bytes.slice((at - offset) as usize..));
            }
        }
        if let Some(reader) = self.reader.take() {
            let wanted = (self.total - self.read).min(CHUNK_BYTES as u64) as usize;
            // Reading may wait for the disk, and heartbeats run on these threads.
            self.reading = Some(tokio::task::spawn_blocking(move || filled(reader, wanted)));
        }
        let reading = self.reading.as_mut().ok_or("its file is gone")?;
        let (reader, bytes) = reading.await.map_err(|error| error.to_string())?;
        self.reading = None;
        self.reader = Some(reader);
        let bytes = Bytes::from(bytes.map_err(|error| format!("it cannot be read: {error}"))?);
        self.sum = crc32c::crc32c_append(self.sum, &bytes);
        self.window.push_back((self.read, bytes.clone()));
        self.read += bytes.len() as u64;
        Ok(bytes)
    }
}

type Filled = (Box<dyn Read + Send>, io::Result<Vec<u8>>);

fn filled(mut reader: Box<dyn Read + Send>, wanted: usize) -> Filled {
    let mut bytes = vec![0; wanted];
    let read = reader.read_exact(&mut bytes);
    (reader, read.map(|()| bytes))
}

fn hearing(heard: &watch::Sender<Heard>, mut message: Message) -> Result<(), Ended> {
    match message.kind {
        Kind::Held => {
            let held = frame::number(&mut message.body)?;
            heard.send_modify(|now| now.held = Some(now.held.map_or(held, |before| before.max(held))));
        }
        Kind::Outcome if !message.body.is_empty() => {
            let is_taken = message.body.get_u8() == 0;
            let why: String = String::from_utf8_lossy(&message.body)
                .chars()
                .filter(|c| !c.is_control())
                .take(300)
                .collect();
            heard.send_modify(|now| now.outcome = Some(if is_taken { Ok(()) } else { Err(why) }));
        }
        _ => return Err(FrameError::Malformed("something that is no answer to a snapshot").into()),
    }
    Ok(())
}
