"""Events kept on this node for searching: blocks of lines in RocksDB, in the order of recording.

A block is a header (how many, the earliest and the latest event) and up to 64 KiB of lines; its key is the
nanosecond at which it was written, made to grow always. Blocks are compressed with zstd. Caches are small: a
store that nobody searches costs about 10 MB.

The binding holds the interpreter while RocksDB writes or reads, though not while it flushes or compacts. So
writes go to its memory only, under no limit at which it would make them wait; the journal makes them last.
"""

from __future__ import annotations

import os
import struct
import time
from calendar import timegm
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from konsul.errors import Unsupported
from konsul.features.audit.journal import Journal, Record

if TYPE_CHECKING:
    from rocksdict import Options, Rdict, WriteOptions

BLOCK_BYTES: Final = 1 << 16
HEADER: Final = struct.Struct(">BIQQ")
VERSION: Final = 1
KEY_MAX: Final = 2**64 - 1
LONGEST_NS: Final = 3_600 * 10**9
"""An event is recorded at most so long after its time, its beginning; a watch is when it opens."""
TRIM_SLACK: Final = 20
"""The store is trimmed when a twentieth of it is over, not for every block."""
_MIB: Final = 1 << 20
FLUSH_BYTES: Final = 4 * _MIB
"""In RocksDB's memory and in the journal, before both are emptied."""
NEVER: Final = 1 << 20
"""Files and memories that RocksDB may be behind by before it makes writers wait."""


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that were recorded one after the other. `key`: when they were written, in nanoseconds."""

    key: int
    count: int
    first_ns: int
    last_ns: int
    text: bytes
    """The lines, each with its line feed."""


class EventStore:
    """One RocksDB below the data directory, opened when it is first used. A search may run beside a write."""

    def __init__(self, path: Path, *, retention_ms: int, max_bytes: int) -> None:
        self._path = path
        self._retention_ns = retention_ms * 1_000_000
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._db: Rdict | None = None
        self._journal: Journal | None = None
        self._unlogged: WriteOptions | None = None
        self._flush_bytes = min(FLUSH_BYTES, max(_MIB // 8, max_bytes // 8))
        self._closed = False
        self._last_key = 0
        self._oldest_key: int | None = None

    def open(self) -> None:
        """Opens it now: what comes later does not wait for that. Raises what RocksDB raises."""
        self._open()

    def append(self, lines: bytes, span: tuple[int, int] | None = None) -> None:
        """Adds whole lines. They survive the process from here on, and the machine a little later.

        Args:
            span: the earliest and the latest event in nanoseconds; looked up in the lines if not given.

        Raises:
            Exception: the disk or RocksDB could not; the store is closed, and opened again by the next call.
        """
        db = self._open()
        try:
            records = [self._record(text, span) for text in blocks_of(lines)]
            self._log().append(records)
            for key, value in records:
                db.put(_key(key), value, self._unlogged)
            if self._oldest_key is None and records:
                self._oldest_key = records[0][0]
            if self._log().size_bytes >= self._flush_bytes:
                self._flush(db)
        except Exception:
            self._let_go()
            raise

    def _record(self, text: bytes, span: tuple[int, int] | None) -> Record:
        self._last_key = max(self._last_key + 1, time.time_ns())
        first_ns, last_ns = _span(text) if span is None else span
        return self._last_key, HEADER.pack(VERSION, text.count(b"\n"), first_ns, last_ns) + text

    def _log(self) -> Journal:
        assert self._journal is not None  # noqa: S101 - opened with the database
        return self._journal

    def _flush(self, db: Rdict) -> None:
        db.flush()
        self._log().clear()

    def newest_first(self, below: int = KEY_MAX) -> Iterator[Block]:
        """Blocks with a key of at most `below`, the newest first, as the store is now."""
        walk = self._open().iter()
        walk.seek_for_prev(_key(below))
        while walk.valid():
            yield from _read(walk)
            walk.prev()
        walk.status()

    def oldest_first(self, above: int = 0) -> Iterator[Block]:
        """Blocks with a key of at least `above`, the oldest first."""
        walk = self._open().iter()
        walk.seek(_key(max(above, self.horizon_ns())))
        while walk.valid():
            yield from _read(walk)
            walk.next()
        walk.status()

    def horizon_ns(self) -> int:
        """What was recorded before is past the retention, whether it is still on the disk or not."""
        return max(0, time.time_ns() - self._retention_ns)

    def trim(self) -> None:
        """Lets go of what is older or more than allowed."""
        db = self._open()
        horizon = self.horizon_ns()
        if self._oldest_key is not None and self._oldest_key < horizon - self._retention_ns // TRIM_SLACK:
            self._drop_below(db, horizon)
        size = self.size_bytes()
        if size > self._max_bytes:
            self._drop_below(db, self._key_to_keep(db, size))

    def is_ahead(self) -> bool:
        """True while keys are far from the times of their events: the clock was ahead and was set back."""
        self._open()
        return self._last_key > time.time_ns() + LONGEST_NS

    def size_bytes(self) -> int:
        """What the store takes: tables on the disk, and what is still in memory and in the log."""
        db = self._open()
        names = ("rocksdb.total-sst-files-size", "rocksdb.cur-size-all-mem-tables")
        return sum(db.property_int_value(name) or 0 for name in names)

    def oldest_ns(self) -> int | None:
        """When the oldest block was written; None while there is none."""
        self._open()
        return self._oldest_key

    def is_open(self) -> bool:
        """False until something was written or asked."""
        return self._db is not None

    def close(self) -> None:
        """Closes for good. Idempotent. Raises what RocksDB raises; the journal has it all then."""
        self._closed = True
        try:
            if self._db is not None:
                self._flush(self._db)
        finally:
            self._let_go()

    def _open(self) -> Rdict:
        with self._lock:
            if self._db is None:
                if self._closed:
                    raise Unsupported("the audit store is closed")
                self._db = self._opened()
            return self._db

    def _opened(self) -> Rdict:
        """The database, with what the journal has beyond it."""
        from rocksdict import Rdict, WriteOptions

        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.mkdir(mode=0o700, exist_ok=True)
        self._unlogged = WriteOptions()
        # A property; the stub calls it a method.
        setattr(self._unlogged, "disable_wal", True)  # noqa: B010
        db = Rdict(os.fspath(self._path / "blocks"), _options())
        try:
            self._journal = Journal(self._path / "journal")
            for key, value in self._journal.records():
                db.put(_key(key), value, self._unlogged)
            self._flush(db)
            self._look_at_ends(db)
        except Exception:
            db.close()
            raise
        return db

    def _look_at_ends(self, db: Rdict) -> None:
        walk = db.iter()
        walk.seek_to_last()
        self._last_key = int.from_bytes(walk.key()) if walk.valid() else 0
        walk.seek_to_first()
        self._oldest_key = int.from_bytes(walk.key()) if walk.valid() else None

    def _let_go(self) -> None:
        with self._lock:
            db, self._db = self._db, None
            journal, self._journal = self._journal, None
            if journal is not None:
                journal.close()
            if db is not None:
                db.close()

    def _key_to_keep(self, db: Rdict, size: int) -> int:
        """The oldest key that may stay: whole files go until a twentieth is free."""
        self._flush(db)
        files = sorted(db.live_files(), key=lambda each: each["start_key"] or b"")
        over = size - self._max_bytes + self._max_bytes // TRIM_SLACK
        key = 0
        for each in files[:-1]:
            if over <= 0:
                break
            over -= each["size"]
            key = max(key, int.from_bytes(each["end_key"] or b"") + 1)
        return key

    def _drop_below(self, db: Rdict, key: int) -> None:
        """Everything below `key` goes: first from sight, then from the disk."""
        if key == 0:
            return
        db.delete_range(_key(0), _key(key), self._unlogged)
        self._flush(db)
        db.compact_range(_key(0), _key(key))
        walk = db.iter()
        walk.seek(_key(key))
        self._oldest_key = int.from_bytes(walk.key()) if walk.valid() else None


def blocks_of(lines: bytes) -> Iterator[bytes]:
    """Cuts lines into blocks of about 64 KiB, each of whole lines."""
    start = 0
    while start < len(lines):
        end = min(start + BLOCK_BYTES, len(lines))
        if end < len(lines):
            cut = lines.rfind(b"\n", start, end) + 1
            end = cut if cut > start else lines.index(b"\n", end) + 1
        yield lines[start:end]
        start = end


def moment_ns(text: bytes) -> int:
    """The time of `events.line`'s form in nanoseconds. Raises ValueError for anything else."""
    if len(text) != 30 or text[19:20] != b"." or text[29:] != b"Z":
        raise ValueError("not a time of an audit event")
    whole = time.strptime(text[:19].decode(), "%Y-%m-%dT%H:%M:%S")
    return timegm(whole) * 10**9 + int(text[20:29])


def _span(text: bytes) -> tuple[int, int]:
    """The earliest and the latest event: times of one form are in order as text is."""
    times = [each[64:94] for each in text.splitlines()]
    return moment_ns(min(times)), moment_ns(max(times))


def _key(number: int) -> bytes:
    return number.to_bytes(8)


def _read(walk: Any) -> Iterator[Block]:
    key, value = walk.key(), walk.value()
    # A later version's blocks are passed over: a node that was rolled back still answers.
    if len(value) > HEADER.size and value[0] == VERSION:
        _, count, first_ns, last_ns = HEADER.unpack_from(value)
        yield Block(int.from_bytes(key), count, first_ns, last_ns, value[HEADER.size :])


def _options() -> Options:
    import rocksdict

    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_compression_type(rocksdict.DBCompressionType.zstd())
    # Its memory is flushed by hand, long before it would be full: full, or far behind, it makes writers wait.
    options.set_write_buffer_size(16 * FLUSH_BYTES)
    options.set_level_zero_slowdown_writes_trigger(NEVER)
    options.set_level_zero_stop_writes_trigger(NEVER)
    options.set_soft_pending_compaction_bytes_limit(0)
    options.set_hard_pending_compaction_bytes_limit(0)
    options.set_target_file_size_base(8 * _MIB)
    blocks = rocksdict.BlockBasedOptions()
    blocks.set_block_cache(rocksdict.Cache(_MIB))
    blocks.set_block_size(BLOCK_BYTES)
    options.set_block_based_table_factory(blocks)
    options.set_max_open_files(64)
    options.set_max_background_jobs(2)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(_MIB)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    return options
