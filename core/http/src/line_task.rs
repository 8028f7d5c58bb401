//! Drives one line's socket: writes what waits in few system calls, reads what the client says, notices its
//! end.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::frames::{self, Arrived, Broken, Decoder, PING, PONG};
use crate::line::{Ending, Framing, Line, Message};
use crate::stream::Stream;

/// So many pieces go out in one system call.
const SLICES: usize = 64;
/// Read at once, by all lines into the same room: an idle line has no buffer.
const SCRATCH_BYTES: usize = 16 << 10;
/// So often one line reads before others get their turn.
const READS_PER_TURN: usize = 4;
/// What waits is written, and a close frame waited for, this long after the end was decided.
pub(crate) const CLOSING: Duration = Duration::from_secs(3);

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// The end of a line, and why.
struct Over(String);

pub(crate) struct LineTask {
    stream: Stream,
    line: Arc<Line>,
    writing: VecDeque<Bytes>,
    /// TLS holds nothing back.
    is_flushed: bool,
    sent: u64,
    slot: usize,
    /// Of a WebSocket: its next ping; of a line that ends: when it is cut.
    timer: Option<Pin<Box<Sleep>>>,
    /// The end was decided: by us, and the reason.
    ending: Option<String>,
    web: Option<Box<Web>>,
    is_over: bool,
}

/// What only WebSockets have.
struct Web {
    decoder: Decoder,
    /// Since when a ping is unanswered.
    unanswered: Option<Instant>,
    /// The client's close frame has come, or nothing it says counts any more.
    said_goodbye: bool,
    /// It broke the protocol. The socket stays until it has closed its side too: closing while it still sends
    /// would take the close frame from it.
    lingers: bool,
    /// Read, and not dealt with yet: what came with the request's head, or more than its user can take.
    ahead: Bytes,
}

impl LineTask {
    pub(crate) fn new(stream: Stream, line: Arc<Line>, ahead: Bytes) -> Self {
        let is_web = line.framing() == Framing::WebSocket;
        let web = is_web.then(|| {
            // A copy: the rest of hyper's buffer must not stay.
            let ahead = Bytes::copy_from_slice(&ahead);
            Box::new(Web {
                decoder: Decoder::new(line.message_max),
                unanswered: None,
                said_goodbye: false,
                lingers: false,
                ahead,
            })
        });
        let timer = is_web.then(|| Box::pin(sleep_until(Instant::now() + line.shared.options.ping_every)));
        let slot = line.shared.lines.add(line.clone());
        Self {
            stream,
            line,
            writing: VecDeque::new(),
            is_flushed: true,
            sent: 0,
            slot,
            timer,
            ending: None,
            web,
            is_over: false,
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Result<(), Over> {
        let ending = self.line.take(cx, &mut self.writing);
        if let Some(Ending::Cut(reason)) = ending {
            return Err(Over(reason));
        }
        if let (Some(Ending::Closing(reason)), None) = (ending, &self.ending) {
            self.end_with(reason);
        }
        self.write(cx)?;
        self.read(cx)?;
        self.write(cx)?;
        self.check_end(cx)?;
        self.tick(cx)
    }

    fn end_with(&mut self, reason: String) {
        self.ending = Some(reason);
        self.timer = Some(Box::pin(sleep_until(Instant::now() + CLOSING)));
    }

    /// Everything is written and, on a WebSocket, both have said goodbye.
    fn check_end(&mut self, cx: &mut Context<'_>) -> Result<(), Over> {
        let is_written = self.writing.is_empty() && self.is_flushed;
        let is_done = is_written && self.web.as_ref().is_none_or(|web| web.said_goodbye);
        if self.ending.is_none() || !is_done {
            return Ok(());
        }
        if self.web.as_ref().is_some_and(|web| web.lingers) {
            let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
            return Ok(());
        }
        // The goodbye of TLS: without it the client would have to take the end for a cut.
        if self.stream.is_tls() && Pin::new(&mut self.stream).poll_shutdown(cx).is_pending() {
            return Ok(());
        }
        Err(self.client_gone())
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), Over> {
        while !self.writing.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut filled = 0;
            for (slice, bytes) in slices.iter_mut().zip(&self.writing) {
                *slice = IoSlice::new(bytes);
                filled += 1;
            }
            let mut wrote = match Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..filled]) {
                Poll::Ready(Ok(wrote)) => wrote,
                Poll::Ready(Err(_)) => return Err(self.client_gone()),
                Poll::Pending => return self.flush(cx),
            };
            self.sent += wrote as u64;
            self.line.wrote(wrote);
            while let Some(front) = self.writing.front_mut() {
                if front.len() > wrote {
                    front.advance(wrote);
                    break;
                }
                wrote -= front.len();
                self.writing.pop_front();
            }
        }
        self.writing.shrink_to(4);
        self.flush(cx)
    }

    /// TLS takes what the socket has no room for into its own keeping, and has to be asked for it again.
    fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), Over> {
        if !self.stream.is_tls() {
            return Ok(());
        }
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.is_flushed = flushed.is_ready();
        match flushed {
            Poll::Ready(Err(_)) => Err(self.client_gone()),
            _ => Ok(()),
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Result<(), Over> {
        for _ in 0..READS_PER_TURN {
            if !self.line.may_read() {
                return Ok(());
            }
            let ahead = self.web.as_mut().map(|web| std::mem::take(&mut web.ahead)).unwrap_or_default();
            if !ahead.is_empty() {
                self.heard(&ahead)?;
                continue;
            }
            let heard = SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                    Poll::Pending => Ok(false),
                    Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                        self.heard(buffer.filled()).map(|()| true)
                    }
                    Poll::Ready(_) => Err(self.client_gone()),
                }
            })?;
            if !heard {
                return Ok(());
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// It is over: for the reason that was decided, or the client has left.
    fn client_gone(&mut self) -> Over {
        Over(self.ending.take().unwrap_or_else(|| "the client went away".to_owned()))
    }

    /// What the client of an event stream says is nothing to us.
    fn heard(&mut self, mut bytes: &[u8]) -> Result<(), Over> {
        while let Some(web) = &mut self.web {
            web.unanswered = None;
            if web.said_goodbye {
                return Ok(());
            }
            if !self.line.may_read() {
                // Small messages: one read holds thousands of them. The rest is dealt with when these are.
                web.ahead = Bytes::copy_from_slice(bytes);
                return Ok(());
            }
            match web.decoder.next(&mut bytes) {
                Ok(None) => return Ok(()),
                Ok(Some(arrived)) => self.arrived(arrived),
                Err(_) if self.ending.is_some() => return Err(self.client_gone()),
                Err(broken) => {
                    self.refuse(broken);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn arrived(&mut self, arrived: Arrived) {
        match arrived {
            // After our goodbye only the client's is of interest.
            Arrived::Text(text) if self.ending.is_none() => self.line.received(Message::Text(text)),
            Arrived::Binary(bytes) if self.ending.is_none() => self.line.received(Message::Binary(bytes)),
            Arrived::Ping(payload) if self.ending.is_none() => self.control(frames::frame(PONG, &payload)),
            Arrived::Close(code) => {
                if let Some(web) = &mut self.web {
                    web.said_goodbye = true;
                }
                if self.ending.is_none() {
                    let payload = code.map(u16::to_be_bytes);
                    self.control(frames::frame(frames::CLOSE, payload.as_ref().map_or(&[], |it| &it[..])));
                    let text = code.map_or(String::new(), |code| format!(" ({code})"));
                    self.end_with(format!("the client closed{text}"));
                }
            }
            Arrived::Text(_) | Arrived::Binary(_) | Arrived::Ping(_) | Arrived::Pong => {}
        }
    }

    /// The client broke the protocol: it is told how, and nothing more is read as frames.
    fn refuse(&mut self, broken: Broken) {
        self.control(frames::close_frame(broken.code, broken.reason));
        self.end_with(format!("{} ({})", broken.reason, broken.code));
        if let Some(web) = &mut self.web {
            (web.said_goodbye, web.lingers) = (true, true);
        }
    }

    fn control(&mut self, frame: Bytes) {
        if self.line.control(&frame) {
            self.writing.push_back(frame);
        }
    }

    fn tick(&mut self, cx: &mut Context<'_>) -> Result<(), Over> {
        while let Some(timer) = &mut self.timer {
            if timer.as_mut().poll(cx).is_pending() {
                return Ok(());
            }
            if self.ending.is_some() {
                return Err(self.client_gone());
            }
            let Some(web) = &mut self.web else { return Ok(()) };
            let options = &self.line.shared.options;
            let now = Instant::now();
            if web.unanswered.is_some_and(|since| now - since >= options.pong_max) {
                return Err(Over("no answer to pings".to_owned()));
            }
            web.unanswered.get_or_insert(now);
            timer.as_mut().reset(now + options.ping_every);
            self.control(frames::frame(PING, &[]));
            self.write(cx)?;
        }
        Ok(())
    }
}

impl Future for LineTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.line.shared.take_turn();
        match this.turn(cx) {
            Ok(()) => Poll::Pending,
            Err(Over(reason)) => {
                this.is_over = true;
                this.line.ended(&reason, this.sent);
                Poll::Ready(())
            }
        }
    }
}

impl Drop for LineTask {
    fn drop(&mut self) {
        if !self.is_over {
            self.line.ended("the node is stopping", self.sent);
        }
        self.line.shared.lines.remove(self.slot);
    }
}
