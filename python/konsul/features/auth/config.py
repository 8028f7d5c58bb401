"""Settings of identities: signing keys, lifetimes, limits."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from konsul.kernel.config import Settings, between, setting
from konsul.kernel.values import DURATION_MS, INT, TEXT

SECRET_BYTES_MIN: Final = 32
"""RFC 7518, 3.2: a key of HS256 is at least as long as its hash."""
_SECOND_MS: Final = 1_000
_DAY_MS: Final = 86_400_000
_PREFIX: Final = re.compile(r"[A-Za-z0-9]{1,32}", re.ASCII)
_KEY_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


def _secret(text: str) -> str | None:
    is_long = len(text.strip().encode()) >= SECRET_BYTES_MIN
    return None if is_long else f"at least {SECRET_BYTES_MIN} bytes, such as `openssl rand -hex 32` writes"


def _words(pattern: re.Pattern[str], expected: str) -> Callable[[str], str | None]:
    return lambda text: None if pattern.fullmatch(text) else expected


class AuthSettings(Settings):
    """Tokens, API keys and passwords."""

    jwt_secret: str = setting(
        "KONSUL_JWT_SECRET",
        TEXT,
        default="",
        doc="Signs tokens with HS256, the same on every node; at least 32 bytes.",
        check=_secret,
        secret=True,
    )
    jwt_secret_file: str = setting(
        "KONSUL_JWT_SECRET_FILE",
        TEXT,
        default="",
        doc="A file that holds the secret. With several lines the first signs and all verify.",
    )
    jwt_key_dir: str = setting(
        "KONSUL_JWT_KEY_DIR",
        TEXT,
        default="",
        doc="A directory of `*.pem` keys, Ed25519 or RSA: the private ones sign, all verify. Signs before "
        "a secret does.",
    )
    jwt_key_id: str = setting(
        "KONSUL_JWT_KEY_ID",
        TEXT,
        default="",
        doc="Which private key of the directory signs: its file's name without `.pem`. Unset: the newest.",
        check=_words(_KEY_ID, "1 to 64 letters, digits, dots, dashes and underscores"),
    )
    jwt_expiry_ms: int = setting(
        "KONSUL_JWT_EXPIRY",
        DURATION_MS,
        default=15 * 60 * _SECOND_MS,
        doc="How long an access token holds.",
        check=between(_SECOND_MS, 30 * _DAY_MS, "1s to 720h"),
    )
    refresh_expiry_ms: int = setting(
        "KONSUL_REFRESH_EXPIRY",
        DURATION_MS,
        default=7 * _DAY_MS,
        doc="How long a refresh token holds: a login that is not refreshed for so long is over.",
        check=between(_SECOND_MS, 365 * _DAY_MS, "1s to 8760h"),
    )
    jwt_issuer: str = setting(
        "KONSUL_JWT_ISSUER", TEXT, default="konsul", doc="The `iss` of tokens, checked on the way in."
    )
    jwt_audience: str = setting(
        "KONSUL_JWT_AUDIENCE", TEXT, default="konsul", doc="The `aud` of tokens, checked on the way in."
    )
    jwt_leeway_ms: int = setting(
        "KONSUL_JWT_LEEWAY",
        DURATION_MS,
        default=5 * _SECOND_MS,
        doc="By how much the clocks of two nodes may differ before a token is too old or too young.",
        check=between(0, 5 * 60 * _SECOND_MS, "0s to 5m"),
    )
    apikey_prefix: str = setting(
        "KONSUL_APIKEY_PREFIX",
        TEXT,
        default="konsul",
        doc="New API keys read `<prefix>_<64 hex digits>`.",
        check=_words(_PREFIX, "1 to 32 letters and digits"),
    )
    bootstrap_token_file: str = setting(
        "KONSUL_BOOTSTRAP_TOKEN_FILE",
        TEXT,
        default="",
        doc="A file whose content, 32 characters or more, becomes an API key that may do everything.",
    )
    users_max: int = setting(
        "KONSUL_AUTH_MAX_USERS", INT, default=10_000, doc="Most users.", check=between(1, 1_000_000)
    )
    api_keys_max: int = setting(
        "KONSUL_AUTH_MAX_API_KEYS", INT, default=10_000, doc="Most API keys.", check=between(1, 1_000_000)
    )
    logins_max: int = setting(
        "KONSUL_AUTH_MAX_LOGINS_PER_USER",
        INT,
        default=100,
        doc="Most logins of one user at a time; the one refreshed longest ago makes room.",
        check=between(1, 1_000),
    )
    identities_max: int = setting(
        "KONSUL_AUTH_CACHE_ENTRIES",
        INT,
        default=20_000,
        doc="Most credentials whose owner is kept in memory.",
        check=between(1, 10_000_000),
    )
    hashes_waiting_max: int = setting(
        "KONSUL_AUTH_MAX_WAITING_LOGINS",
        INT,
        default=64,
        doc="Most passwords that wait to be hashed; beyond it 503.",
        check=between(1, 10_000),
    )

    def problem(self) -> str | None:
        """Settings that contradict each other stop the start."""
        if self.jwt_secret and self.jwt_secret_file:
            return "KONSUL_JWT_SECRET and KONSUL_JWT_SECRET_FILE are both set: expected one of them"
        if self.refresh_expiry_ms < self.jwt_expiry_ms:
            return "KONSUL_REFRESH_EXPIRY is below KONSUL_JWT_EXPIRY: a login would end before its token"
        return None
