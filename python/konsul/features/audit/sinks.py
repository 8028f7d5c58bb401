"""Where lines go: a file that is rotated, or standard output. Used by one thread, the writer's.

A batch is lines, whole: what a disk took only a part of is cut back, so that no reader meets half a line.
"""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from konsul.features.audit.config import AuditSettings

STAMP: Final = slice(64, 94)
"""Where the time stands in a line; see `events.line`."""
TAIL_BYTES: Final = 1 << 16


class Sink(Protocol):
    """Takes batches. Every method raises OSError when it cannot, and may be called again after that."""

    name: str

    def open(self) -> None: ...
    def write(self, lines: bytes) -> None: ...
    def reopen(self) -> None: ...
    def close(self) -> None: ...


class StdoutSink:
    """Standard output, by its descriptor."""

    name = "stdout"

    def __init__(self, fd: int = 1) -> None:
        self._fd = fd

    def open(self) -> None:
        """It is open."""

    def write(self, lines: bytes) -> None:
        """Writes all of it; waits for a reader that is slow."""
        left = memoryview(lines)
        while left:
            left = left[os.write(self._fd, left) :]

    def reopen(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Standard output belongs to the process."""


class FileSink:
    """A file: appended, rotated by size and age, opened again when it was moved away."""

    name = "file"

    def __init__(self, settings: AuditSettings) -> None:
        self._path = Path(settings.file_path)
        self._max_bytes = settings.file_max_bytes
        self._max_age_s = settings.file_max_age_ms / 1_000
        self._keep = settings.file_keep
        self._fd = -1
        self._size = 0
        self._begun_s = 0.0
        self.rotations = 0

    def open(self) -> None:
        """Makes the file where there is none: what is wrong with the path shows before the first event."""
        if self._fd < 0:
            self._open()

    def write(self, lines: bytes) -> None:
        """Appends the lines, all or none of them.

        Raises:
            OSError: the disk did not take them; the file ends as it did before.
        """
        if self._fd >= 0 and self._was_moved():
            self._let_go()
        if self._fd < 0:
            self._open()
        if self._size and self._is_due(len(lines)):
            self._rotate()
        if not self._size:
            self._begun_s = time.time()
        written = 0
        try:
            while written < len(lines):
                written += os.write(self._fd, memoryview(lines)[written:])
        except OSError:
            if written:
                os.ftruncate(self._fd, self._size)
            raise
        self._size += written

    def reopen(self) -> None:
        """Lets go of the file; the next lines open what is at the path by then."""
        if self._fd >= 0:
            self._let_go()

    def close(self) -> None:
        """Puts what was written onto the disk and lets go of the file."""
        self.reopen()

    def _was_moved(self) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return True
        here = os.fstat(self._fd)
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)

    def _open(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        fd = os.open(self._path, flags, 0o600)
        try:
            size = os.fstat(fd).st_size
            self._size = _whole(fd, size)
            self._begun_s = _begun_s(fd, self._size)
        except OSError:
            os.close(fd)
            raise
        self._fd = fd

    def _is_due(self, more: int) -> bool:
        if self._max_bytes and self._size + more > self._max_bytes:
            return True
        return bool(self._max_age_s) and time.time() - self._begun_s >= self._max_age_s

    def _rotate(self) -> None:
        """`audit.log` becomes `audit.log.1`, that one `.2`; beyond the number kept they go."""
        self._let_go()
        older = [self._path, *(Path(f"{self._path}.{number}") for number in range(1, self._keep + 1))]
        older[-1].unlink(missing_ok=True)
        for old, new in zip(reversed(older[:-1]), reversed(older[1:]), strict=True):
            if old.exists():
                old.rename(new)
        self.rotations += 1
        self._open()

    def _let_go(self) -> None:
        fd, self._fd = self._fd, -1
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _whole(fd: int, size: int) -> int:
    """Cuts off what a crash left of a last line; answers the size then."""
    if not size:
        return 0
    at = max(0, size - TAIL_BYTES)
    tail = os.pread(fd, TAIL_BYTES, at)
    if tail.endswith(b"\n"):
        return size
    end = tail.rfind(b"\n")
    if end < 0 and at:
        # No line of ours is that long: somebody else's file is not cut, ours begins on a line of its own.
        return size + os.write(fd, b"\n")
    os.ftruncate(fd, at + end + 1)
    return at + end + 1


def _begun_s(fd: int, size: int) -> float:
    """When the first event of the file was: its age does not start again with the process."""
    if not size:
        return time.time()
    head = os.pread(fd, STAMP.stop, 0)
    try:
        return datetime.fromisoformat(head[STAMP].decode()).timestamp()
    except ValueError:
        return os.fstat(fd).st_mtime
