"""Paths, decoded once. The same rules as the compiled front, in plain Python."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

BAD_ESCAPE: Final = "the path is not percent-encoded UTF-8"
_BROKEN: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def normalise(raw: bytes) -> str:
    """The path that routes match: `/v1` off, trailing slashes off, then percent-decoded once.

    Slashes go before decoding, so that a key may end with an encoded one. Raises ValueError for a broken
    escape and for bytes that are not UTF-8.
    """
    if raw[:3].lower() == b"/v1" and raw[3:4] in (b"", b"/"):
        raw = raw[3:]
    raw = raw.rstrip(b"/") or b"/"
    if b"%" in raw:
        if _BROKEN.search(raw):
            raise ValueError(BAD_ESCAPE)
        raw = unquote_to_bytes(raw)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ValueError(BAD_ESCAPE) from None
