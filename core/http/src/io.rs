//! hyper's view of sockets and clocks, over tokio's.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{self, ReadBufCursor};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::Conn;
use crate::stream::Stream;

/// A client's socket, as hyper reads and writes it.
pub(crate) struct Io {
    pub(crate) stream: Stream,
    pub(crate) conn: Arc<Conn>,
    /// Since the last write found no room: when the client is given up.
    stuck: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Io {
    pub(crate) fn new(stream: Stream, conn: Arc<Conn>) -> Self {
        Self { stream, conn, stuck: None }
    }

    /// A client that reads nothing of its answer for too long must not keep it in memory for ever.
    fn note<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.conn.is_blocked.store(written.is_pending(), Ordering::Relaxed);
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let patience = self.conn.shared.options.write_timeout;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        stuck.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl rt::Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // SAFETY: tokio's buffer only ever initializes bytes, it never writes uninitialized ones; and exactly
        // what it filled is what the cursor is advanced by.
        let filled = unsafe {
            let mut buffer = ReadBuf::uninit(into.as_mut());
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) => buffer.filled().len(),
                other => return other,
            }
        };
        // SAFETY: see above.
        unsafe { into.advance(filled) };
        Poll::Ready(Ok(()))
    }
}

impl rt::Write for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, from);
        self.note(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper comes by here in each of its turns, and reads nothing while a request waits for its answer.
        if self.conn.awaits_end.load(Ordering::Relaxed) && self.stream.is_ended(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.note(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, from);
        self.note(cx, written)
    }
}

/// hyper's timer: the deadline of a request's head.
#[derive(Clone, Debug)]
pub(crate) struct Clock;

struct Sleep(Pin<Box<tokio::time::Sleep>>);

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl rt::Sleep for Sleep {}

impl rt::Timer for Clock {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Sleep(Box::pin(tokio::time::sleep(duration))))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Sleep(Box::pin(tokio::time::sleep_until(deadline.into()))))
    }

    /// A connection that lives on only moves its timer, which costs no lock.
    fn reset(&self, sleep: &mut Pin<Box<dyn rt::Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<Sleep>() {
            Some(ours) => ours.get_mut().0.as_mut().reset(deadline.into()),
            None => *sleep = self.sleep_until(deadline),
        }
    }
}
