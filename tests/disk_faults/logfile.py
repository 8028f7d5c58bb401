"""Where records lie in a log segment, for tests that harm them (layout: core/disk/src/wal/record.rs)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

HEADER_BYTES = 4096
FRAME_BYTES = 24


@dataclass(frozen=True)
class Frame:
    """One record on disk: where its frame starts, and how many bytes its payload has."""

    file: Path
    offset: int
    payload_bytes: int

    @property
    def payload(self) -> int:
        return self.offset + FRAME_BYTES

    @property
    def end(self) -> int:
        return self.payload + self.payload_bytes + -(FRAME_BYTES + self.payload_bytes) % 8


def frames(data_dir: Path) -> list[Frame]:
    """Every record of the log in order."""
    found = []
    for file in sorted(data_dir.rglob("*.wal")):
        content = file.read_bytes()
        offset = HEADER_BYTES
        while offset + FRAME_BYTES <= len(content):
            (payload_bytes,) = struct.unpack_from("<I", content, offset)
            if payload_bytes == 0:
                break
            frame = Frame(file, offset, payload_bytes)
            found.append(frame)
            offset = frame.end
    return found


def overwrite(file: Path, offset: int, content: bytes) -> None:
    with file.open("r+b") as target:
        target.seek(offset)
        target.write(content)


def flip(file: Path, offset: int) -> None:
    """Inverts one byte."""
    with file.open("r+b") as target:
        target.seek(offset)
        (old,) = target.read(1)
        target.seek(offset)
        target.write(bytes([old ^ 0xFF]))
