"""What credentials look like: user ids, API keys, and the digests by which they are recognised."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

USER_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
USER_ID_EXPECTED: Final = "1 to 64 letters, digits, dots, dashes, underscores and @, a letter or digit first"
ADMIN_PERMISSION: Final = "*"
"""The permission of an API key that may do everything."""
PASSWORD_CHARS_MIN: Final = 8
PASSWORD_BYTES_MAX: Final = 1_024
_KEY_BYTES: Final = 32


def is_user_id(text: str) -> bool:
    """True for what may name a user; also what a certificate may say to be one."""
    return USER_ID.fullmatch(text) is not None


def new_api_key(prefix: str) -> str:
    """A new key: `<prefix>_<64 hex digits>`. Shown once; only its `digest` is kept."""
    return f"{prefix}_{secrets.token_hex(_KEY_BYTES)}"


def digest(secret: str | bytes) -> str:
    """SHA-256 in hex. For random secrets only: a password needs a slow hash."""
    return hashlib.sha256(secret.encode() if isinstance(secret, str) else secret).hexdigest()
