//! The requests that were applied lately: one that comes again is answered as before and changes nothing.
//!
//! The window is part of the replicated state: bounded by a count, not by time, so that every replica
//! forgets the same request at the same entry. A request is remembered after its ops have succeeded, so the
//! undo journal never sees it.

use crate::entry::RequestId;
use crate::frame::Stop;
use crate::keys;
use crate::msgpack::Malformed;
use crate::store::{Read, StoreError, Write};

/// How many requests are remembered.
pub const REQUESTS_MAX: u64 = 65_536;

const DAMAGED: Malformed = Malformed("the window of requests is damaged");

/// A remembered request: its id, and the index and case it was answered with.
pub(crate) type Request = (RequestId, u64, u16);

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Window {
    /// How many were ever remembered: the number of the next.
    pub(crate) next: u64,
    /// What [`Window::finish`] wrote last.
    stored: u64,
    /// How often a known request came again. Not part of the state.
    pub(crate) repeats: u64,
}

fn slot(number: u64) -> [u8; 5] {
    // Below the window's length, which fits.
    keys::request_slot((number % REQUESTS_MAX) as u32)
}

fn answer(bytes: &[u8]) -> Option<(u64, u16)> {
    let (index, rest) = bytes.split_first_chunk()?;
    let case = rest.try_into().ok()?;
    Some((u64::from_be_bytes(*index), u16::from_be_bytes(case)))
}

impl Window {
    pub(crate) fn open(r: &impl Read) -> Result<Self, StoreError> {
        let next = match r.get(keys::REQUESTS)? {
            None => 0,
            Some(bytes) => u64::from_be_bytes(
                bytes
                    .try_into()
                    .map_err(|_| StoreError::Failed("the count of requests is damaged".into()))?,
            ),
        };
        Ok(Self { next, stored: next, repeats: 0 })
    }

    /// How many are remembered.
    pub(crate) fn len(&self) -> u64 {
        self.next.min(REQUESTS_MAX)
    }

    /// What the request was answered with, if it is known.
    pub(crate) fn find(&mut self, r: &impl Read, id: &RequestId) -> Result<Option<(u64, u16)>, Stop> {
        let Some(bytes) = r.get(&keys::request(id))? else { return Ok(None) };
        self.repeats += 1;
        Ok(Some(answer(bytes).ok_or(DAMAGED)?))
    }

    /// Remembers a request that is not known, in the place of the oldest once the window is full.
    pub(crate) fn remember(
        &mut self,
        w: &mut impl Write,
        id: &RequestId,
        index: u64,
        case: u16,
    ) -> Result<(), Stop> {
        let slot = slot(self.next);
        if let Some(oldest) = w.get(&slot)? {
            let oldest: RequestId = oldest.try_into().map_err(|_| DAMAGED)?;
            w.delete(&keys::request(&oldest))?;
        }
        w.put(&slot, id)?;
        let mut stored = [0; 10];
        stored[..8].copy_from_slice(&index.to_be_bytes());
        stored[8..].copy_from_slice(&case.to_be_bytes());
        w.put(&keys::request(id), &stored)?;
        self.next += 1;
        Ok(())
    }

    /// Writes the count if it changed.
    pub(crate) fn finish(&mut self, w: &mut impl Write) -> Result<(), StoreError> {
        if self.stored == self.next {
            return Ok(());
        }
        w.put(keys::REQUESTS, &self.next.to_be_bytes())?;
        self.stored = self.next;
        Ok(())
    }

    /// Hands out what is remembered, oldest first.
    pub(crate) fn each<E: From<StoreError>>(
        &self,
        r: &impl Read,
        mut visit: impl FnMut(&RequestId, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let damaged = || StoreError::Failed("the window of requests has a gap".into());
        for number in self.next - self.len()..self.next {
            let id: &RequestId =
                r.get(&slot(number))?.and_then(|id| id.try_into().ok()).ok_or_else(damaged)?;
            visit(id, r.get(&keys::request(id))?.ok_or_else(damaged)?)?;
        }
        Ok(())
    }

    /// An empty window before a snapshot's requests are remembered: `count` of them, the last numbered
    /// `next - 1`. None if that cannot be.
    pub(crate) fn awaiting(next: u64, count: u64) -> Option<Self> {
        let window = Self { next, stored: 0, repeats: 0 };
        (count == window.len()).then_some(Self { next: next - count, ..window })
    }

    /// A request as a snapshot has it.
    pub(crate) fn decode(id: &[u8], bytes: &[u8]) -> Option<Request> {
        let (index, case) = answer(bytes)?;
        Some((id.try_into().ok()?, index, case))
    }
}
