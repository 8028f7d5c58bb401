"""What a key may be. One rule for every door: paths, JSON bodies and msgpack bodies."""

from __future__ import annotations

from typing import Final

from konsul.errors import Invalid

KEY_MAX_BYTES: Final = 1024


def check_key(key: str) -> bytes:
    """The stored form of `key`.

    Raises:
        Invalid: the key is empty, longer than `KEY_MAX_BYTES` as UTF-8, holds NUL, or is not valid Unicode.
    """
    if not key:
        raise Invalid("key is required")
    return check_prefix(key)


def check_prefix(prefix: str) -> bytes:
    """The stored form of the beginning of a key; as `check_key`, but empty stands for every key."""
    if "\0" in prefix:
        raise Invalid("key must not contain NUL")
    try:
        stored = prefix.encode()
    except UnicodeEncodeError:  # lone surrogates
        raise Invalid("key must be valid UTF-8") from None
    if len(stored) > KEY_MAX_BYTES:
        raise Invalid(f"key too long: {len(stored)} bytes (max {KEY_MAX_BYTES})")
    return stored
