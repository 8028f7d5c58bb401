"""The first key: made once per cluster for whoever asks first, or taken from a file of the operator."""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import uuid4

from konsul.engine import Engine
from konsul.errors import Conflict, Duplicate, Invalid, Unsupported
from konsul.features.auth.config import AuthSettings
from konsul.features.auth.credentials import ADMIN_PERMISSION, digest, new_api_key
from konsul.features.auth.files import read_small
from konsul.features.auth.tables import ApiKeyRow, AuthStateRow
from konsul.kernel import entry

FILE_KEY_ID: Final = "bootstrap-token-file"
_OVER: Final = "the first token was made already"
_DONE: Final = "bootstrap"
_FILED: Final = "bootstrap_file"
_SETTING: Final = "KONSUL_BOOTSTRAP_TOKEN_FILE"
# No dot: a Bearer credential with dots is taken for a token.
_TOKEN: Final = re.compile(r"[A-Za-z0-9_~+/=-]{32,512}", re.ASCII)


@dataclass(frozen=True, slots=True)
class FirstKey:
    """The key that was made; `token` is nowhere else."""

    key_id: str
    token: str = field(repr=False)
    created_at_ms: int


async def bootstrap(engine: Engine, settings: AuthSettings) -> FirstKey:
    """Makes the first key, which may do everything.

    Raises:
        Conflict: it was made before, or a file holds it. NoLeader, Timeout, Stopping.
    """
    if settings.bootstrap_token_file:
        raise Conflict(f"the first token is the one that {_SETTING} names")
    with contextlib.suppress(Unsupported):  # no tables yet: the commit says so
        if engine.get(AuthStateRow.table_id, _DONE.encode()) is not None:
            # Anybody may ask, as often as they like: what is known to be over does not go into the log.
            raise Conflict(_OVER)
    first = FirstKey(str(uuid4()), new_api_key(settings.apikey_prefix), _now_ms())
    row = _key_row(first.key_id, "bootstrap", digest(first.token), first.created_at_ms)
    ops = [
        entry.put(ApiKeyRow, first.key_id, row.cells()),
        entry.put(AuthStateRow, _DONE, [first.key_id, first.created_at_ms]),
    ]
    try:
        await engine.commit(entry.encode([entry.case([entry.absent(AuthStateRow, _DONE)], ops)]))
    except Conflict:
        raise Conflict(_OVER) from None
    return first


def read_token(settings: AuthSettings) -> str:
    """The token in the operator's file.

    Raises:
        Invalid: it cannot be read, or is no usable token; the text never shows it.
    """
    path = Path(settings.bootstrap_token_file)
    text = read_small(path, _SETTING).decode("utf-8", "replace").strip()
    if not _TOKEN.fullmatch(text):
        raise Invalid(f"{_SETTING}: {path}: expected 32 to 512 letters, digits and _ ~ + / = -")
    return text


async def install_token(engine: Engine, token: str) -> bool:
    """Makes the file's token a key that may do everything, in place of the one from an earlier content.

    One that was installed and then revoked or deleted stays so. True if something was changed.

    Raises:
        NoLeader, Timeout, Stopping.
    """
    digested = digest(token)
    try:
        state = engine.get(AuthStateRow.table_id, _FILED.encode())
    except Unsupported:
        # The tables come with the cluster's first entry.
        return False
    before = None if state is None else state.cells[0]
    if before == digested:
        return False
    now_ms = _now_ms()
    row = _key_row(FILE_KEY_ID, "bootstrap token file", digested, now_ms)
    same = entry.is_(AuthStateRow, _FILED, "value", before)
    ops = [
        entry.put(ApiKeyRow, FILE_KEY_ID, row.cells()),
        entry.put(AuthStateRow, _FILED, [digested, now_ms]),
    ]
    done = entry.put(AuthStateRow, _DONE, [FILE_KEY_ID, now_ms])
    first = entry.case([same, entry.absent(AuthStateRow, _DONE)], [*ops, done])
    try:
        await engine.commit(entry.encode([first, entry.case([same], ops)]))
    except (Conflict, Duplicate):
        return False
    return True


def _key_row(key_id: str, name: str, digested: str, now_ms: int) -> ApiKeyRow:
    return ApiKeyRow(
        key_id=key_id,
        name=name,
        digest=digested,
        permissions=[ADMIN_PERMISSION],
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
        created_by=name,
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
