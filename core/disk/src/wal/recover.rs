//! Reads the log at start: what is intact, what was torn, and what must not be touched.
//!
//! Batch n + 1 is written only after batch n was synced. So if anything of a batch later than n is intact,
//! all of n was on the disk once and was acknowledged: damage inside n is then corruption, and cutting it
//! would lose acknowledged writes: refuse. If nothing later is intact, batch n may never have been synced: a
//! torn end, nobody was told that it is stored: cut it, whole. (A flipped bit in the very last batch cannot
//! be told from a torn write, by anyone.) Batch numbers have no gaps, so a lost batch or segment shows even
//! where a segment's end was wiped.
//!
//! The cut is made durable by zeroing what follows it: later appends must not find valid frames of the torn
//! batch.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::WalOptions;
use super::append::Active;
use super::error::OpenError;
use super::index::{Live, Place};
use super::record::{FRAME_BYTES, Frame, HardState, LAST, Record, SnapshotMark, UNSYNCED, u32_at, u64_at};
use super::replay::Replay;
use super::segment::{HEADER_BYTES, Segment, is_spare, live_name, live_sequence};
use super::sequence::Sequence;
use crate::files::{LogFile, LogFiles, read_all};

/// Everything [`super::Wal`] needs to go on.
pub(super) struct Recovery {
    pub placed: Sequence<Place>,
    pub live: VecDeque<Live>,
    pub active: Option<Active>,
    pub ready: Vec<Segment>,
    pub spares: Vec<String>,
    pub next_sequence: u64,
    pub batch: u64,
    pub salt: u64,
    pub fresh: bool,
    pub note: Option<String>,
    pub hard_state: HardState,
    pub mark: SnapshotMark,
}

/// Where the intact log ends.
struct End {
    /// Position in the list of segments.
    nth: usize,
    /// Where the next batch goes.
    offset: u64,
    /// The first frame that does not validate; after `offset` if the batch's first frames do.
    bad: u64,
}

struct Scan<'f> {
    files: &'f Arc<dyn LogFiles>,
    /// Every segment with the highest entry index in it.
    segments: Vec<(Segment, u64)>,
    salt: Option<u64>,
    /// The number of the batch that comes next; unknown before the first.
    expected: Option<u64>,
    replay: Replay,
    end: Option<End>,
}

/// Reads the log without changing anything, then cuts a torn end off.
pub(super) fn recover(files: &Arc<dyn LogFiles>, options: &WalOptions) -> Result<Recovery, OpenError> {
    let names = files.list().map_err(|error| failed("cannot list", files.describe(""), error))?;
    let sequences = live_sequences(&names)?;
    // Without purged segments before it the first batch is known to be 1.
    let expected = (sequences.first().copied().unwrap_or(1) == 1).then_some(1);
    let mut scan =
        Scan { files, segments: Vec::new(), salt: None, expected, replay: Replay::new(), end: None };
    for &sequence in &sequences {
        scan.segment(sequence)?;
    }
    let note = scan.check_tail()?;
    let (placed, hard_state, mark) = std::mem::replace(&mut scan.replay, Replay::new()).finish()?;
    if note.is_some() {
        scan.cut()?;
    }
    if options.sync {
        scan.sync()?;
    }
    let used = scan.end.as_ref().map_or(0, |end| end.nth + 1);
    let ready = scan.segments.split_off(used).into_iter().map(|(segment, _)| segment).collect();
    let active = match (&scan.end, scan.segments.last()) {
        (Some(end), Some((segment, _))) => Some(Active { segment: segment.clone(), offset: end.offset }),
        _ => None,
    };
    let live = scan.segments.into_iter().map(|(segment, last_index)| Live { segment, last_index });
    Ok(Recovery {
        placed,
        live: live.collect(),
        active,
        ready,
        spares: keep_spares(files, &names, options)?,
        next_sequence: sequences.last().map_or(1, |last| last + 1),
        batch: scan.expected.unwrap_or(1),
        salt: scan.salt.unwrap_or(options.salt),
        fresh: scan.end.is_none(),
        note,
        hard_state,
        mark,
    })
}

/// The numbers of the live segments, which must follow each other.
fn live_sequences(names: &[String]) -> Result<Vec<u64>, OpenError> {
    let mut sequences: Vec<u64> = names.iter().filter_map(|name| live_sequence(name)).collect();
    sequences.sort_unstable();
    for pair in sequences.windows(2) {
        if pair[1] != pair[0] + 1 {
            let (missing, after) = (live_name(pair[0] + 1), live_name(pair[1]));
            return Err(OpenError::Missing(format!("segment {missing} is not there, but {after} is")));
        }
    }
    match sequences.last() {
        Some(last) if *last > u64::from(u32::MAX) - 16 => {
            Err(OpenError::Options(format!("segment number {last} is beyond what a log can have")))
        }
        _ => Ok(sequences),
    }
}

/// Whole spare files are kept for recycling, half-made ones removed.
fn keep_spares(
    files: &Arc<dyn LogFiles>,
    names: &[String],
    options: &WalOptions,
) -> Result<Vec<String>, OpenError> {
    let mut kept = Vec::new();
    for name in names.iter().filter(|name| is_spare(name)) {
        let size = files.open(name).and_then(|file| file.size());
        if size.map_err(|error| failed("cannot open", files.describe(name), error))? == options.segment_bytes
        {
            kept.push(name.clone());
        } else {
            files.remove(name).map_err(|error| failed("cannot remove", files.describe(name), error))?;
        }
    }
    Ok(kept)
}

fn failed(action: &'static str, file: String, error: std::io::Error) -> OpenError {
    OpenError::Io { action, file, error }
}

impl Scan<'_> {
    fn path(&self, sequence: u64) -> String {
        self.files.describe(&live_name(sequence))
    }

    fn damaged(&self, sequence: u64, offset: u64, detail: String) -> OpenError {
        OpenError::Damaged { file: self.path(sequence), offset, detail }
    }

    fn read(&self, sequence: u64) -> Result<(Arc<dyn LogFile>, Vec<u8>), OpenError> {
        let file = self.files.open(&live_name(sequence));
        let file = file.map_err(|error| failed("cannot open", self.path(sequence), error))?;
        let content = read_all(&*file).map_err(|error| failed("cannot read", self.path(sequence), error))?;
        Ok((file, content))
    }

    /// Replays all whole batches of one segment that continue the log.
    fn segment(&mut self, sequence: u64) -> Result<(), OpenError> {
        let (file, content) = self.read(sequence)?;
        let (segment, salt) = Segment::check(file, sequence, &content, &self.path(sequence))?;
        if self.salt.is_some_and(|known| known != salt) {
            return Err(self.damaged(sequence, 24, "the segment belongs to another log".into()));
        }
        self.salt = Some(salt);
        let nth = self.segments.len();
        self.segments.push((segment.clone(), 0));
        let mut offset = HEADER_BYTES;
        loop {
            match self.batch(&segment, &content, offset)? {
                Ok(after) => offset = after,
                Err(bad) => {
                    if offset > HEADER_BYTES {
                        self.end = Some(End { nth, offset, bad });
                    } else if nth == 0 && sequence > 1 {
                        // Segments before this one were purged only after a batch in it was synced.
                        return Err(self.damaged(
                            sequence,
                            bad,
                            "the oldest segment's first batch is not intact".into(),
                        ));
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Replays the batch at `offset` if it is whole; answers where it ends, or which frame does not validate.
    fn batch(
        &mut self,
        segment: &Segment,
        content: &[u8],
        offset: u64,
    ) -> Result<Result<u64, u64>, OpenError> {
        let mut frames = Vec::new();
        let mut at = offset as usize;
        let mut number = self.expected;
        loop {
            let frame = Frame::parse(content.get(at..).unwrap_or_default(), segment.seed);
            let Some(frame) = frame.filter(|frame| number.is_none_or(|number| number == frame.batch)) else {
                return Ok(Err(at as u64));
            };
            number = Some(frame.batch);
            let (start, last) = (at, frame.flags & LAST != 0);
            at += frame.bytes();
            frames.push((start, frame));
            if last {
                break;
            }
        }
        self.expected = number.map(|number| number + 1);
        for (start, frame) in frames {
            let record = frame
                .record(|data| if frame.is_entry() { Bytes::new() } else { Bytes::copy_from_slice(data) });
            let place = |term| Place::of(frame.payload_bytes(), term, segment, start as u64);
            let taken = self.replay.take(&record, place);
            taken.map_err(|detail| self.damaged(segment.sequence, start as u64, detail))?;
            if let (Record::Entry(entry), Some((_, highest))) = (&record, self.segments.last_mut()) {
                *highest = entry.index.max(*highest);
            }
        }
        Ok(Ok(at as u64))
    }

    /// Looks at everything behind the intact part. An intact frame of a later batch there means damage
    /// (unless nothing was synced in the first place); anything of the next batch means a torn write, which
    /// the answer describes.
    fn check_tail(&self) -> Result<Option<String>, OpenError> {
        let next = self.expected.unwrap_or(1);
        let (nth, offset, bad) =
            self.end.as_ref().map_or((0, HEADER_BYTES, HEADER_BYTES), |end| (end.nth, end.offset, end.bad));
        // The first place where something is that does not validate.
        let mut suspect = None;
        let (mut leftovers, mut lost) = (false, false);
        for (i, (segment, _)) in self.segments.iter().enumerate().skip(nth) {
            let (_, content) = self.read(segment.sequence)?;
            let (from, bad) = if i == nth { (offset, bad) } else { (HEADER_BYTES, HEADER_BYTES) };
            let length = content.get(bad as usize..bad as usize + 4);
            if bad > from || length.is_some_and(|length| u32_at(length, 0) != 0) {
                suspect.get_or_insert((segment.sequence, bad));
            }
            for at in (from as usize..content.len()).step_by(8) {
                let Some(frame) = frame_from(&content[at..], segment.seed, next) else { continue };
                let found = frame.batch;
                leftovers = true;
                lost |= found > next;
                if found > next && frame.flags & UNSYNCED == 0 {
                    let place = suspect.unwrap_or((self.segments[nth].0.sequence, bad));
                    let detail = format!(
                        "batch {next} is not intact, but batch {found} at byte {at} of {}, written later, is",
                        self.path(segment.sequence)
                    );
                    return Err(self.damaged(place.0, place.1, detail));
                }
            }
        }
        if suspect.is_none() && !leftovers {
            return Ok(None);
        }
        let (sequence, at) = suspect.unwrap_or((self.segments[nth].0.sequence, offset));
        let what = if lost {
            "writes that were acknowledged without a sync are lost"
        } else {
            "it was never acknowledged and is cut off"
        };
        Ok(Some(format!("the log ended in a torn write at byte {at} of {}; {what}", self.path(sequence))))
    }

    /// Makes durable what recovery found: after a process crash neither the last batch nor the last rename
    /// need have been synced, and from now on what is there counts as acknowledged and is built upon.
    fn sync(&self) -> Result<(), OpenError> {
        self.files.sync_dir().map_err(|error| failed("cannot sync", self.files.describe(""), error))?;
        for (segment, _) in &self.segments {
            let synced = segment.file.sync();
            synced.map_err(|error| failed("cannot sync", self.path(segment.sequence), error))?;
        }
        Ok(())
    }

    /// Zeroes everything behind the intact part and syncs it.
    fn cut(&self) -> Result<(), OpenError> {
        let (nth, offset) = self.end.as_ref().map_or((0, HEADER_BYTES), |end| (end.nth, end.offset));
        for (i, (segment, _)) in self.segments.iter().enumerate().skip(nth) {
            let (file, content) = self.read(segment.sequence)?;
            let from = if i == nth { offset } else { HEADER_BYTES };
            let zeros = [0; 4096];
            let wiped =
                content[from as usize..].chunks(zeros.len()).enumerate().try_for_each(|(n, chunk)| {
                    let zero = chunk.iter().all(|byte| *byte == 0);
                    if zero {
                        Ok(())
                    } else {
                        file.write_at(&zeros[..chunk.len()], from + (n * zeros.len()) as u64)
                    }
                });
            let synced = wiped.and_then(|()| file.sync());
            synced
                .map_err(|error| failed("cannot cut the torn end off", self.path(segment.sequence), error))?;
        }
        Ok(())
    }
}

/// The frame at the start of `bytes` if one validates and is of batch `next` or later.
fn frame_from(bytes: &[u8], seed: u32, next: u64) -> Option<Frame<'_>> {
    let batch = u64_at(bytes.get(..FRAME_BYTES)?, 8);
    // Checksums are computed only for plausible numbers: almost every position fails this.
    let plausible = (next..=next.saturating_add(u64::from(u32::MAX))).contains(&batch);
    plausible.then(|| Frame::parse(bytes, seed)).flatten()
}
