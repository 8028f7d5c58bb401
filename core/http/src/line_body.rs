//! A line over HTTP/2: its socket is one stream's body, and hyper asks for the next piece when there is room.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::answer::Cut;
use crate::line::{Ending, Line};

/// What `LineTask` is to a connection, this is to a stream.
#[derive(Debug)]
pub(crate) struct LineBody {
    line: Arc<Line>,
    queue: VecDeque<Bytes>,
    /// With hyper until it comes for more: as long it waits for the client.
    handed: usize,
    sent: u64,
    slot: usize,
    ending: Option<String>,
}

impl LineBody {
    pub(crate) fn new(line: Arc<Line>) -> Self {
        let slot = line.shared.lines.add(line.clone());
        Self { line, queue: VecDeque::new(), handed: 0, sent: 0, slot, ending: None }
    }

    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        if self.handed > 0 {
            self.sent += self.handed as u64;
            self.line.wrote(std::mem::take(&mut self.handed));
        }
        match self.line.take(cx, &mut self.queue) {
            Some(Ending::Cut(reason)) => {
                self.ending = Some(reason);
                return Poll::Ready(Some(Err(Cut)));
            }
            Some(Ending::Closing(reason)) => self.ending = Some(reason),
            None => {}
        }
        while let Some(piece) = self.queue.pop_front() {
            if !piece.is_empty() {
                self.handed = piece.len();
                return Poll::Ready(Some(Ok(piece)));
            }
        }
        self.queue.shrink_to(4);
        if self.ending.is_some() { Poll::Ready(None) } else { Poll::Pending }
    }
}

impl Drop for LineBody {
    fn drop(&mut self) {
        let is_stopping = self.line.shared.is_stopping.load(Ordering::Relaxed);
        let gone = if is_stopping { "the node is stopping" } else { "the client went away" };
        let reason = self.ending.take().or_else(|| match self.line.glance() {
            Some(Ending::Closing(reason) | Ending::Cut(reason)) => Some(reason),
            None => None,
        });
        self.line.ended(reason.as_deref().unwrap_or(gone), self.sent);
        self.line.shared.lines.remove(self.slot);
    }
}
