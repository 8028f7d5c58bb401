"""Somebody must be left who may administer: what would take away the last one is refused.

Two who take away the last two at the same time are kept apart by a guard: each names the other as the one
who stays, and the entry holds only while that row is as it was read.
"""

from __future__ import annotations

import time
from typing import Final

from konsul.engine import Engine, Row
from konsul.errors import LimitReached
from konsul.features.auth.credentials import ADMIN_PERMISSION
from konsul.features.auth.tables import ApiKeyRow, UserRow
from konsul.kernel import entry
from konsul.kernel.pipeline import ADMIN
from konsul.kernel.scanning import pages

LAST_USER: Final = "this is the last enabled user with the role admin: make another one first"
LAST_KEY: Final = "this is the last way to administer: make a user with the role admin first"
_ROLES, _USER_ENABLED = UserRow.column("roles"), UserRow.column("enabled")
_PERMISSIONS, _KEY_ENABLED = ApiKeyRow.column("permissions"), ApiKeyRow.column("enabled")
_EXPIRES: Final = ApiKeyRow.column("expires_at_ms")


def is_administrator(row: Row) -> bool:
    """True for the row of a user who may administer now."""
    return bool(row.cells[_USER_ENABLED]) and ADMIN in (row.cells[_ROLES] or ())


def is_master_key(row: Row) -> bool:
    """True for the row of a key that may administer now."""
    is_on = bool(row.cells[_KEY_ENABLED]) and ADMIN_PERMISSION in (row.cells[_PERMISSIONS] or ())
    return is_on and not _is_over(row)


def without_user(engine: Engine, user_id: str, row: Row) -> list[entry.Guard]:
    """Guards under which this user may stop being an administrator; none if the user is no such thing.

    Raises:
        LimitReached: nobody else with the role is left.
    """
    if not is_administrator(row):
        return []
    for page in pages(engine, UserRow.table_id):
        for key, other in page:
            if key != user_id.encode() and is_administrator(other):
                return [entry.at(UserRow, key, other.modify_index)]
    raise LimitReached(LAST_USER)


def without_key(engine: Engine, key_id: str, row: Row) -> list[entry.Guard]:
    """Guards under which this key may stop being one that administers; none if it is no such thing.

    Raises:
        LimitReached: there is neither a user nor another key that could administer.
    """
    if not is_master_key(row):
        return []
    for users in pages(engine, UserRow.table_id):
        for key, user in users:
            if is_administrator(user):
                return [entry.at(UserRow, key, user.modify_index)]
    for keys in pages(engine, ApiKeyRow.table_id):
        for key, other in keys:
            if key != key_id.encode() and is_master_key(other):
                return [entry.at(ApiKeyRow, key, other.modify_index)]
    raise LimitReached(LAST_KEY)


def _is_over(row: Row) -> bool:
    expires_at_ms = row.cells[_EXPIRES]
    return expires_at_ms is not None and expires_at_ms <= time.time_ns() // 1_000_000
