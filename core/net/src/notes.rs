//! What an operator should hear of: once per source and reason and minute, in bounded memory.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

const NOTES_MAX: usize = 256;
const SOURCES_MAX: usize = 1_024;
const PAUSE: Duration = Duration::from_secs(60);

/// One line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Whether it needs attention; the others say that something went back to normal.
    pub is_warning: bool,
    /// Who it is about: a node's name or an address.
    pub source: String,
    /// One word: what kind of note this is.
    pub reason: &'static str,
    /// The sentence.
    pub text: String,
    /// How many like it were left out since the last one of this source and reason.
    pub repeated: u64,
}

#[derive(Debug, Default)]
struct Kept {
    notes: VecDeque<Note>,
    said: HashMap<(String, &'static str), (Instant, u64)>,
}

/// The ring of notes that nobody took yet.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<Kept>);

impl Notes {
    /// Keeps a warning, unless its like was kept less than a minute ago.
    pub fn warn(&self, source: &str, reason: &'static str, text: impl FnOnce() -> String) {
        self.add(Instant::now(), true, source, reason, text);
    }

    /// Keeps a note that something is well.
    pub fn tell(&self, source: &str, reason: &'static str, text: impl FnOnce() -> String) {
        self.add(Instant::now(), false, source, reason, text);
    }

    fn add(
        &self,
        now: Instant,
        is_warning: bool,
        source: &str,
        reason: &'static str,
        text: impl FnOnce() -> String,
    ) {
        let mut kept = self.0.lock();
        if kept.said.len() >= SOURCES_MAX {
            kept.said.retain(|_, (at, _)| now.duration_since(*at) < PAUSE);
        }
        // A scan from thousands of addresses is one source: the map cannot grow, the log neither.
        let source = if kept.said.len() >= SOURCES_MAX { "many addresses" } else { source };
        let mut repeated = 0;
        if let Some((at, left_out)) = kept.said.get_mut(&(source.to_owned(), reason)) {
            if now.duration_since(*at) < PAUSE {
                *left_out += 1;
                return;
            }
            repeated = *left_out;
        }
        kept.said.insert((source.to_owned(), reason), (now, 0));
        if kept.notes.len() >= NOTES_MAX {
            kept.notes.pop_front();
        }
        let at_ms =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |at| at.as_millis() as u64);
        let (source, text) = (source.to_owned(), text());
        kept.notes.push_back(Note { at_ms, is_warning, source, reason, text, repeated });
    }

    /// Everything since the last time.
    pub fn take(&self) -> Vec<Note> {
        self.0.lock().notes.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_per_source_and_reason_and_minute_with_the_count_of_the_others() {
        let notes = Notes::default();
        let start = Instant::now();
        for _ in 0..5 {
            notes.add(start, true, "10.0.0.1", "garbage", || "a".to_owned());
        }
        notes.add(start, true, "10.0.0.1", "tls", || "b".to_owned());
        assert_eq!(notes.take().iter().map(|note| note.text.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        notes.add(start + PAUSE, true, "10.0.0.1", "garbage", || "c".to_owned());
        assert_eq!(notes.take()[0].repeated, 4);
    }

    #[test]
    fn a_scan_from_everywhere_stays_small() {
        let notes = Notes::default();
        let now = Instant::now();
        for number in 0..10_000 {
            notes.add(now, true, &format!("10.0.{number}"), "garbage", || "x".to_owned());
        }
        assert!(notes.0.lock().said.len() <= SOURCES_MAX + 1);
        assert_eq!(notes.take().len(), NOTES_MAX);
    }
}
