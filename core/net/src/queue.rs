//! What waits for one connection: urgent frames first, then the others in order; both bounded.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::frame::Kind;

const URGENT_BYTES_MAX: usize = 1 << 20;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub bytes: usize,
    pub frames: usize,
    pub urgent_frames: usize,
}

/// One message on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub kind: Kind,
    pub is_urgent: bool,
    pub body: Bytes,
}

#[derive(Debug, Default)]
struct Side {
    waiting: VecDeque<(Kind, Bytes)>,
    bytes: usize,
}

impl Side {
    fn push(&mut self, kind: Kind, body: Bytes, frames_max: usize, bytes_max: usize) -> bool {
        // An empty queue takes anything: a frame longer than the room must be able to pass.
        let has_room = self.waiting.len() < frames_max && self.bytes + body.len() <= bytes_max;
        if !has_room && !self.waiting.is_empty() {
            return false;
        }
        self.bytes += body.len();
        self.waiting.push_back((kind, body));
        true
    }

    fn pop(&mut self, is_urgent: bool) -> Option<Outgoing> {
        let (kind, body) = self.waiting.pop_front()?;
        self.bytes -= body.len();
        Some(Outgoing { kind, is_urgent, body })
    }
}

#[derive(Debug, Default)]
struct State {
    urgent: Side,
    rest: Side,
}

/// The queue of one connection. Anybody may push; one task takes.
#[derive(Debug)]
pub(crate) struct Queue {
    room: Room,
    state: Mutex<State>,
    ready: Notify,
}

impl Queue {
    pub fn new(room: Room) -> Self {
        Self { room, state: Mutex::default(), ready: Notify::new() }
    }

    /// False: too much waits already, and the message was dropped.
    pub fn push(&self, kind: Kind, body: Bytes, is_urgent: bool) -> bool {
        let mut state = self.state.lock();
        let is_taken = if is_urgent {
            state.urgent.push(kind, body, self.room.urgent_frames, URGENT_BYTES_MAX)
        } else {
            state.rest.push(kind, body, self.room.frames, self.room.bytes)
        };
        drop(state);
        if is_taken {
            self.ready.notify_one();
        }
        is_taken
    }

    /// The next message, if there is one.
    pub fn pop(&self) -> Option<Outgoing> {
        let mut state = self.state.lock();
        state.urgent.pop(true).or_else(|| state.rest.pop(false))
    }

    /// The next urgent message, if there is one.
    pub fn pop_urgent(&self) -> Option<Outgoing> {
        self.state.lock().urgent.pop(true)
    }

    /// Waits until there is a message.
    pub async fn next(&self) -> Outgoing {
        loop {
            if let Some(message) = self.pop() {
                return message;
            }
            self.ready.notified().await;
        }
    }

    /// Forgets what waits: it was for a connection that is gone.
    pub fn clear(&self) {
        *self.state.lock() = State::default();
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        let state = self.state.lock();
        state.urgent.bytes + state.rest.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue {
        Queue::new(Room { bytes: 100, frames: 4, urgent_frames: 2 })
    }

    #[test]
    fn urgent_messages_have_room_of_their_own_and_go_first() {
        let queue = queue();
        assert!(queue.push(Kind::Frame, Bytes::from(vec![0; 90]), false));
        assert!(!queue.push(Kind::Frame, Bytes::from(vec![0; 11]), false));
        assert!(queue.push(Kind::Frame, Bytes::from_static(b"beat"), true));
        assert!(queue.push(Kind::Ping, Bytes::new(), true));
        assert!(!queue.push(Kind::Ping, Bytes::new(), true));
        assert_eq!(queue.bytes(), 94);
        assert_eq!(queue.pop().unwrap().body, b"beat"[..]);
        assert!(queue.pop_urgent().is_some());
        assert!(queue.pop_urgent().is_none());
        assert_eq!(queue.pop().unwrap().body.len(), 90);
        assert!(queue.pop().is_none());
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn frames_are_bounded_by_number_too_and_one_long_frame_passes() {
        let queue = queue();
        assert!(queue.push(Kind::Frame, Bytes::from(vec![0; 1_000]), false));
        assert!(!queue.push(Kind::Frame, Bytes::from_static(b"a"), false));
        queue.clear();
        for _ in 0..4 {
            assert!(queue.push(Kind::Frame, Bytes::from_static(b"a"), false));
        }
        assert!(!queue.push(Kind::Frame, Bytes::from_static(b"a"), false));
    }
}
