"""Small files that settings name."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

from konsul.errors import Invalid

_MAX_BYTES: Final = 64 << 10


def open_to_others(*paths: Path) -> list[str]:
    """Those of the files that every user of the machine may read. What is not there is passed over."""
    found = []
    for path in paths:
        try:
            mode = path.stat().st_mode
        except OSError:
            continue
        if mode & stat.S_IROTH:
            found.append(str(path))
    return found


def read_small(path: Path, setting: str) -> bytes:
    """The content of a file that a setting names.

    Raises:
        Invalid: it cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise Invalid(f"{setting}: {path} cannot be read: {error.strerror}") from None
    if len(content) > _MAX_BYTES:
        raise Invalid(f"{setting}: {path} is over {_MAX_BYTES} bytes")
    return content
