"""What the store has taken and RocksDB has not put on the disk yet: records, replayed after a crash.

RocksDB's own log would do the same, but its Python binding holds the interpreter while it writes: a disk that
hangs would stop the whole server. Writing a file does not, nor does flushing RocksDB's memory.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

RECORD: Final = struct.Struct(">QII")
"""Key, length of the value, checksum of both."""
VALUE_MAX_BYTES: Final = 1 << 24
Record = tuple[int, bytes]


class Journal:
    """One file. Raises OSError where the disk does not do its part; used by one thread."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.size_bytes = os.fstat(self._fd).st_size

    def records(self) -> Iterator[Record]:
        """What it holds, up to the first record that is not whole: the one a crash cut off."""
        at = 0
        while True:
            head = os.pread(self._fd, RECORD.size, at)
            if len(head) < RECORD.size:
                return
            key, size, checksum = RECORD.unpack(head)
            if size > VALUE_MAX_BYTES:
                return
            value = os.pread(self._fd, size, at + RECORD.size)
            if len(value) < size or _checksum(key, value) != checksum:
                return
            yield key, value
            at += RECORD.size + size

    def append(self, records: Sequence[Record]) -> None:
        """Adds all of them, or none."""
        packed = b"".join(
            part
            for key, value in records
            for part in (RECORD.pack(key, len(value), _checksum(key, value)), value)
        )
        written = 0
        try:
            while written < len(packed):
                written += os.write(self._fd, memoryview(packed)[written:])
        except OSError:
            os.ftruncate(self._fd, self.size_bytes)
            raise
        self.size_bytes += written

    def clear(self) -> None:
        """RocksDB has it all."""
        os.ftruncate(self._fd, 0)
        self.size_bytes = 0

    def close(self) -> None:
        """Lets go of the file."""
        os.close(self._fd)


def _checksum(key: int, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(key.to_bytes(8)))
