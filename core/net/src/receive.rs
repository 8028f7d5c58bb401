//! Receiving a snapshot: piece by piece into the node's sink, confirmed as it is written, kept for a while
//! when the connection breaks so that the sender can go on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep};

use crate::counters::add;
use crate::frame::{self, Decoder, FrameError, Kind, Message};
use crate::handler::Sink;
use crate::link::{self, Ended, Pace};
use crate::listener::Guest;
use crate::net::Shared;
use crate::queue::{Queue, Room};
use crate::ship::{CHUNK_BYTES, HEADER_BYTES_MAX, WINDOW_BYTES};

/// How many snapshots are taken in at once, interrupted ones included.
const AT_ONCE: usize = 2;
/// For the sender to close the connection after the outcome.
const FAREWELL: Duration = Duration::from_secs(5);
/// For an older connection of the same sender to finish the piece it is writing.
const LET_GO: Duration = Duration::from_secs(5);

/// One snapshot as far as it came.
struct Partial {
    sink: Box<dyn Sink>,
    offset: u64,
    sum: u32,
}

/// Which snapshot it is.
#[derive(Clone, PartialEq, Eq)]
struct Offered {
    from: u64,
    total: u64,
    header: Bytes,
}

struct Slot {
    offered: Offered,
    /// None while a connection is writing to it.
    partial: Option<Partial>,
    /// Which connection has it, or had it last.
    turn: u64,
    /// Makes that connection let go of it.
    stop: Arc<Notify>,
}

/// A slot in use.
struct Turn {
    number: u64,
    stop: Arc<Notify>,
}

/// The snapshots on their way in.
#[derive(Default)]
pub(crate) struct Receiving {
    slots: Mutex<Vec<Slot>>,
    turns: AtomicU64,
}

impl Receiving {
    /// Takes a slot for what is offered; with what came of it before. None: there is no room.
    async fn begin(&self, offered: &Offered) -> Option<(Turn, Option<Partial>)> {
        // A sender that offers anew has given its former attempt up; that connection may not have noticed.
        let until = Instant::now() + LET_GO;
        while !self.is_free(offered.from) && Instant::now() < until {
            sleep(Duration::from_millis(5)).await;
        }
        let turn = Turn { number: self.turns.fetch_add(1, Ordering::Relaxed), stop: Arc::new(Notify::new()) };
        let mut slots = self.slots.lock();
        let before = slots.iter().position(|slot| slot.offered.from == offered.from);
        let before = before.map(|at| slots.swap_remove(at));
        if before.is_none() && slots.len() >= AT_ONCE {
            let waiting = slots.iter().position(|slot| slot.partial.is_some())?;
            slots.swap_remove(waiting);
        }
        let (offered_now, stop) = (offered.clone(), turn.stop.clone());
        slots.push(Slot { offered: offered_now, partial: None, turn: turn.number, stop });
        let partial = before.filter(|slot| slot.offered == *offered).and_then(|slot| slot.partial);
        Some((turn, partial))
    }

    /// Whether no connection of this sender is writing; tells it to stop if one is.
    fn is_free(&self, from: u64) -> bool {
        let slots = self.slots.lock();
        let busy = slots.iter().find(|slot| slot.offered.from == from && slot.partial.is_none());
        busy.inspect(|slot| slot.stop.notify_one()).is_none()
    }

    /// Keeps an interrupted one, unless its sender began anew meanwhile.
    fn park(&self, turn: u64, partial: Partial) {
        if let Some(slot) = self.slots.lock().iter_mut().find(|slot| slot.turn == turn) {
            slot.partial = Some(partial);
        }
    }

    fn end(&self, turn: u64) {
        self.slots.lock().retain(|slot| slot.turn != turn);
    }
}

/// Takes one snapshot from a connection.
pub(crate) async fn receive(shared: &Arc<Shared>, guest: Guest) -> Ended {
    let room = Room { bytes: 1 << 16, frames: 1_024, urgent_frames: 8 };
    let queue = Queue::new(room);
    // The sender may have as much on its way as its window allows; who sends more ends the connection.
    let (pass, pieces) = mpsc::channel((WINDOW_BYTES as usize / CHUNK_BYTES) * 2 + 4);
    let decoder = Decoder::new(HEADER_BYTES_MAX + 8);
    let from = guest.hello.raft_id;
    let running = async {
        let pass = pass;
        link::run(guest.stream, &queue, decoder, Pace::of(&shared.options), &shared.counters, |message| {
            match pass.try_send(message) {
                Err(mpsc::error::TrySendError::Full(_)) => {
                    Err(FrameError::Malformed("more of a snapshot than was asked for").into())
                }
                // What was on its way when the snapshot was refused is nobody's fault.
                _ => Ok(()),
            }
        })
        .await
    };
    // Both run to their end: what is being written when the connection breaks must not be lost.
    let (told, done) = tokio::sync::oneshot::channel();
    let running = async {
        tokio::select! {
            ended = running => ended,
            () = async { let _ = done.await; sleep(FAREWELL).await } => Ended::Done,
        }
    };
    let taking = async {
        take(shared, from, pieces, &queue).await;
        let _ = told.send(());
    };
    tokio::join!(running, taking).0
}

async fn take(shared: &Arc<Shared>, from: u64, mut pieces: mpsc::Receiver<Message>, queue: &Queue) {
    let outcome = match pieces.recv().await {
        None => return,
        Some(offer) => match begin(shared, from, offer).await {
            Err(why) => Some(Err(why)),
            Ok((turn, partial)) => {
                let outcome = fill(shared, &turn, partial, &mut pieces, queue).await;
                if outcome.is_some() {
                    shared.receiving.end(turn.number);
                } else {
                    expire(shared.clone(), turn.number);
                }
                outcome
            }
        },
    };
    match outcome {
        None => {}
        Some(Ok(())) => {
            add(&shared.counters.snapshots_received, 1);
            queue.push(Kind::Outcome, Bytes::from_static(&[0]), false);
        }
        Some(Err(why)) => {
            shared.notes.warn(&from.to_string(), "snapshot", || format!("a snapshot was not taken: {why}"));
            let mut body = vec![1];
            body.extend_from_slice(why.as_bytes().get(..900).unwrap_or(why.as_bytes()));
            queue.push(Kind::Outcome, body.into(), false);
        }
    }
}

async fn begin(shared: &Arc<Shared>, from: u64, mut offer: Message) -> Result<(Turn, Partial), String> {
    let total = frame::number(&mut offer.body).map_err(|error| error.to_string())?;
    if offer.kind != Kind::Offer {
        return Err("a snapshot begins with an offer".to_owned());
    }
    let most = shared.options.snapshot_bytes_max;
    if total > most {
        return Err(format!("it has {total} bytes, this node takes {most}"));
    }
    let offered = Offered { from, total, header: offer.body };
    let (turn, before) = shared
        .receiving
        .begin(&offered)
        .await
        .ok_or("this node is taking other snapshots already".to_owned())?;
    if let Some(partial) = before {
        return Ok((turn, partial));
    }
    let handler = shared.handler.clone();
    let opened = tokio::task::spawn_blocking(move || handler.snapshot(from, offered.header, total)).await;
    match opened.map_err(|error| error.to_string()).and_then(|sink| sink) {
        Ok(sink) => Ok((turn, Partial { sink, offset: 0, sum: 0 })),
        Err(why) => {
            shared.receiving.end(turn.number);
            Err(why)
        }
    }
}

/// Writes what comes. None: the connection broke, and what came is kept.
async fn fill(
    shared: &Arc<Shared>,
    turn: &Turn,
    mut partial: Partial,
    pieces: &mut mpsc::Receiver<Message>,
    queue: &Queue,
) -> Option<Result<(), String>> {
    let total = shared.receiving.slots.lock().iter().find(|slot| slot.turn == turn.number)?.offered.total;
    loop {
        queue.push(Kind::Held, frame::numbered(partial.offset, &[]), false);
        let piece = tokio::select! {
            piece = pieces.recv() => piece,
            () = turn.stop.notified() => None,
        };
        let Some(piece) = piece else {
            shared.receiving.park(turn.number, partial);
            return None;
        };
        match piece.kind {
            Kind::Chunk => match piece_of(partial, piece.body, total).await {
                Ok(more) => partial = more,
                Err(why) => return Some(Err(why)),
            },
            Kind::End => return Some(finish(partial, &piece.body, total).await),
            _ => return Some(Err("something that is no part of a snapshot".to_owned())),
        }
    }
}

async fn piece_of(mut partial: Partial, mut body: Bytes, total: u64) -> Result<Partial, String> {
    let at = frame::number(&mut body).map_err(|error| error.to_string())?;
    if at != partial.offset || body.is_empty() || at + body.len() as u64 > total {
        return Err(format!(
            "a piece of {} bytes at {at} where {} was next of {total}",
            body.len(),
            partial.offset
        ));
    }
    blocking(move || {
        partial.sink.write(&body)?;
        partial.sum = crc32c::crc32c_append(partial.sum, &body);
        partial.offset += body.len() as u64;
        Ok(partial)
    })
    .await
}

async fn finish(partial: Partial, mut body: &[u8], total: u64) -> Result<(), String> {
    if partial.offset != total {
        return Err(format!("it ends after {} of {total} bytes", partial.offset));
    }
    if body.len() < 4 || body.get_u32_le() != partial.sum {
        return Err("its checksum is wrong".to_owned());
    }
    blocking(move || partial.sink.finish()).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| format!("it cannot be written: {error}")),
        Err(error) => Err(error.to_string()),
    }
}

fn expire(shared: Arc<Shared>, turn: u64) {
    tokio::spawn(async move {
        sleep(Duration::from_millis(shared.options.resume_ms)).await;
        shared.receiving.end(turn);
    });
}
