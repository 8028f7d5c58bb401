//! Reading a snapshot: nothing in it is believed before it is checked, and no length makes us allocate ahead
//! of data.

use std::io::{self, BufRead, Read as _};
use std::sync::Arc;

use crate::apply::{Position, Tables};
use crate::define::{Entries, build_row};
use crate::frame::Stop;
use crate::keys::{self, KEY_BYTES_MAX};
use crate::msgpack::{Cursor, Malformed};
use crate::row::{ROW_BYTES_MAX, Row};
use crate::schema::{Schema, Table};
use crate::snapshot::{
    CHUNK_BYTES_MAX, HEADER_BYTES_MAX, Header, MAGIC, REQUESTS, SnapshotError, VERSION, VERSION_PLAIN,
};
use crate::store::Write;
use crate::window::Window;

/// zstd frames that would need a larger window are refused; ours need at most 8 MiB.
const WINDOW_LOG_MAX: u32 = 23;

fn damaged(what: impl Into<String>) -> SnapshotError {
    SnapshotError::Damaged(what.into())
}

impl From<Malformed> for SnapshotError {
    fn from(cause: Malformed) -> Self {
        damaged(cause.to_string())
    }
}

impl From<Stop> for SnapshotError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Store(error) => Self::Store(error),
            Stop::Refused(refusal) => damaged(refusal.message),
            Stop::Corrupt(what) => damaged(what),
        }
    }
}

/// An early end is damage; so is what zstd cannot decode. Other I/O errors are the stream's.
fn read_error(error: io::Error) -> SnapshotError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it ends too early"),
        io::ErrorKind::Other | io::ErrorKind::InvalidData => damaged(error.to_string()),
        _ => SnapshotError::Io(error),
    }
}

fn read_number(input: &mut impl io::Read) -> Result<u32, SnapshotError> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes).map_err(read_error)?;
    Ok(u32::from_be_bytes(bytes))
}

/// Reads exactly `length` bytes into `out`, which grows only as data arrives.
fn read_sized(input: &mut impl io::Read, length: usize, out: &mut Vec<u8>) -> Result<(), SnapshotError> {
    out.clear();
    let got = input.take(length as u64).read_to_end(out).map_err(read_error)?;
    if got < length { Err(damaged("it ends too early")) } else { Ok(()) }
}

/// Reads only what a snapshot says about itself.
///
/// # Errors
/// [`SnapshotError`].
pub fn peek(mut input: impl io::Read) -> Result<Header, SnapshotError> {
    read_header(&mut input)
}

fn read_header(input: &mut impl io::Read) -> Result<Header, SnapshotError> {
    let mut magic = [0; 8];
    input.read_exact(&mut magic).map_err(read_error)?;
    if magic != *MAGIC {
        return Err(damaged("it does not start like a snapshot"));
    }
    let length = read_number(input)? as usize;
    if length > HEADER_BYTES_MAX {
        return Err(damaged("its header is too long"));
    }
    let mut bytes = Vec::new();
    read_sized(input, length, &mut bytes)?;
    if read_number(input)? != crc32c::crc32c(&bytes) {
        return Err(damaged("its header has a wrong checksum"));
    }
    decode_header(&bytes)
}

fn decode_header(bytes: &[u8]) -> Result<Header, SnapshotError> {
    let mut header = Header {
        index: 0,
        clock_ms: 0,
        applied: Position::default(),
        schema: Vec::new(),
        meta: Vec::new(),
        counts: Vec::new(),
        requests: (0, 0),
    };
    let mut format = 0;
    let mut cursor = Cursor::new(bytes);
    for _ in 0..cursor.map()? {
        match cursor.text()? {
            "format" => format = cursor.unsigned()?,
            "index" => header.index = cursor.unsigned()?,
            "clock_ms" => header.clock_ms = cursor.unsigned()?,
            "applied_index" => header.applied.index = cursor.unsigned()?,
            "applied_term" => header.applied.term = cursor.unsigned()?,
            "schema" => header.schema = cursor.bytes()?.to_vec(),
            "meta" => header.meta = cursor.bytes()?.to_vec(),
            "counts" => header.counts = read_counts(&mut cursor)?,
            "requests" if cursor.array()? == 2 => header.requests = (cursor.unsigned()?, cursor.unsigned()?),
            "requests" => return Err(damaged("its count of requests is not a pair")),
            _ => cursor.skip()?,
        }
    }
    if (VERSION_PLAIN..=VERSION).contains(&format) { Ok(header) } else { Err(SnapshotError::Version(format)) }
}

fn read_counts(cursor: &mut Cursor<'_>) -> Result<Vec<(u16, u64)>, SnapshotError> {
    let mut counts = Vec::new();
    for _ in 0..cursor.array()? {
        if cursor.array()? != 2 {
            return Err(damaged("a row count is not a pair"));
        }
        let id = u16::try_from(cursor.unsigned()?).map_err(|_| damaged("a table id is over 65535"))?;
        counts.push((id, cursor.unsigned()?));
    }
    Ok(counts)
}

/// Reads a snapshot to its end and checks that it is whole and unaltered, without keeping anything.
///
/// # Errors
/// [`SnapshotError`].
pub fn verify(mut input: impl io::Read) -> Result<Header, SnapshotError> {
    let header = read_header(&mut input)?;
    Schema::decode(&header.schema).map_err(|refusal| damaged(refusal.message))?;
    read_chunks(input, |_| Ok(()))?;
    Ok(header)
}

/// Replaces everything in the store by a snapshot. Returns the tables and the meta given to
/// [`crate::snapshot::write`].
///
/// # Errors
/// [`SnapshotError`]: the transaction must be dropped.
pub fn read(mut input: impl io::Read, w: &mut impl Write) -> Result<(Tables, Vec<u8>), SnapshotError> {
    let header = read_header(&mut input)?;
    let schema = Schema::decode(&header.schema).map_err(|refusal| damaged(refusal.message))?;
    w.clear()?;
    let mut loader = Loader::new(&schema, &header, w)?;
    read_chunks(input, |chunk| loader.load(chunk))?;
    let (counts, window) = loader.finish(&header)?;
    // As on the node that wrote it: where no schema was defined yet, none is stored.
    if !schema.tables().is_empty() {
        w.put(keys::SCHEMA, &header.schema)?;
    }
    let mut tables = Tables::default();
    tables.schema = Arc::new(schema);
    tables.index = header.index;
    tables.clock_ms = header.clock_ms;
    tables.counts = counts;
    tables.window = window;
    tables.finish(w, header.applied)?;
    Ok((tables, header.meta))
}

/// Hands out the chunks behind the header, each with its checksum right.
fn read_chunks(
    input: impl io::Read,
    mut take: impl FnMut(&[u8]) -> Result<(), SnapshotError>,
) -> Result<(), SnapshotError> {
    let mut frame = zstd::stream::read::Decoder::new(input)?.single_frame();
    frame.window_log_max(WINDOW_LOG_MAX)?;
    let mut chunk = Vec::new();
    loop {
        let length = read_number(&mut frame)? as usize;
        if length == 0 {
            break;
        }
        if length > CHUNK_BYTES_MAX {
            return Err(damaged("a chunk is too long"));
        }
        let checksum = read_number(&mut frame)?;
        read_sized(&mut frame, length, &mut chunk)?;
        if checksum != crc32c::crc32c(&chunk) {
            return Err(damaged("a chunk has a wrong checksum"));
        }
        take(&chunk)?;
    }
    if frame.read(&mut [0]).map_err(read_error)? != 0 {
        return Err(damaged("something follows its last chunk"));
    }
    let mut rest = frame.finish();
    if !rest.fill_buf()?.is_empty() {
        return Err(damaged("something follows its end"));
    }
    Ok(())
}

/// Writes rows with their entries, and checks that they are what the header promised.
struct Loader<'l, W> {
    schema: &'l Schema,
    w: &'l mut W,
    index: u64,
    left: Vec<u64>,
    last: Vec<u8>,
    store_key: Vec<u8>,
    scratch: Vec<u8>,
    counts: Vec<u64>,
    window: Window,
}

impl<'l, W: Write> Loader<'l, W> {
    fn new(schema: &'l Schema, header: &Header, w: &'l mut W) -> Result<Self, SnapshotError> {
        let (next, count) = header.requests;
        let window =
            Window::awaiting(next, count).ok_or_else(|| damaged("its count of requests cannot be"))?;
        let mut left = vec![0; schema.tables.len()];
        for (id, count) in &header.counts {
            if let Ok(table) = schema.table(*id) {
                left[table.position] = *count;
            }
        }
        let counts = left.clone();
        let (last, store_key, scratch) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { schema, w, index: header.index, left, last, store_key, scratch, counts, window })
    }

    fn load(&mut self, chunk: &[u8]) -> Result<(), SnapshotError> {
        let mut cursor = Cursor::new(chunk);
        if cursor.array()? != 2 {
            return Err(damaged("a chunk is not a table and its rows"));
        }
        let id = u16::try_from(cursor.unsigned()?).map_err(|_| damaged("a table id is over 65535"))?;
        let schema = self.schema;
        if id == REQUESTS {
            return self.load_requests(&mut cursor);
        }
        let table = schema.table(id).map_err(|refusal| damaged(refusal.message))?;
        let members = cursor.array()?;
        if members % 2 != 0 {
            return Err(damaged("a chunk ends with a key"));
        }
        for _ in 0..members / 2 {
            self.load_row(table, cursor.bytes()?, cursor.bytes()?)?;
        }
        if cursor.is_empty() { Ok(()) } else { Err(damaged("a chunk is longer than its rows")) }
    }

    fn load_requests(&mut self, cursor: &mut Cursor<'_>) -> Result<(), SnapshotError> {
        let members = cursor.array()?;
        for _ in 0..members / 2 {
            let (id, answer) = (cursor.bytes()?, cursor.bytes()?);
            let (id, index, case) =
                Window::decode(id, answer).ok_or_else(|| damaged("a request has an impossible length"))?;
            if index > self.index || self.window.find(self.w, &id)?.is_some() {
                return Err(damaged("a request is newer than the snapshot, or there twice"));
            }
            self.window.remember(self.w, &id, index, case)?;
        }
        if cursor.is_empty() && members % 2 == 0 {
            Ok(())
        } else {
            Err(damaged("a chunk of requests is not whole"))
        }
    }

    fn load_row(&mut self, table: &Table, key: &[u8], row: &[u8]) -> Result<(), SnapshotError> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX || row.len() > ROW_BYTES_MAX {
            return Err(damaged("a key or row has an impossible length"));
        }
        keys::row(&mut self.store_key, table.id, key);
        if self.store_key <= self.last {
            return Err(damaged("its rows are not in order"));
        }
        let packed = Row::new(row)?;
        packed.check(table, &mut self.scratch)?;
        if packed.modify_index() > self.index {
            return Err(damaged("a row is newer than the snapshot"));
        }
        let left = &mut self.left[table.position];
        *left = left.checked_sub(1).ok_or_else(|| damaged("it has more rows than it says"))?;
        self.w.put(&self.store_key, row)?;
        let entries =
            Entries { columns: &table.indexed, ordered: table.keep.is_some(), expires: table.expires };
        build_row(self.w, table, &entries, key, row)?;
        std::mem::swap(&mut self.last, &mut self.store_key);
        Ok(())
    }

    fn finish(self, header: &Header) -> Result<(Vec<u64>, Window), SnapshotError> {
        let missing = self.left.iter().any(|left| *left > 0) || header.counts.len() != self.counts.len();
        if missing {
            return Err(damaged("it has fewer rows than it says"));
        }
        if self.window.next != header.requests.0 {
            return Err(damaged("it has not the requests that it says"));
        }
        Ok((self.counts, self.window))
    }
}
