"""What all nodes share about rates: the configuration that was changed, clients' own rates, both lists."""

from __future__ import annotations

from typing import Final

from konsul.engine import Form
from konsul.kernel.schema import Row, expires, key, table


@table("rate_settings", id=10)
class RateRow(Row):
    """A rate: under `config` everybody's, under `client <kind> <id>` a client's own until it ends."""

    name: str = key()
    rate_micros: int | None = None
    """Millionths of a token per second; None: as each node's settings say."""
    burst: int | None = None
    duration_ms: int = 0
    set_by: str = ""
    set_at_ms: int = 0
    expires_at_ms: int | None = expires()


@table("rate_lists", id=11)
class ListRow(Row):
    """Somebody who is let through or kept out, under `<list> <kind> <id or network>`."""

    name: str = key()
    reason: str = ""
    added_by: str = ""
    added_at_ms: int = 0
    expires_at_ms: int | None = expires()


CONFIG: Final = "config"
CLIENT: Final = "client"
WHITELIST: Final = "whitelist"
BLACKLIST: Final = "blacklist"
_KEY: Final = -1


def _form(row: type[Row]) -> Form:
    return Form(row.table_id, kinds=("set", "set", "delete", "delete", ""), row=[("name", _KEY, 0)])


RATE_FORM: Final = _form(RateRow)
LIST_FORM: Final = _form(ListRow)
"""What the node's own watches are told: that something changed. Then the tables are read."""


def client_key(kind: str, id: str) -> str:
    """Where a client's own rate is kept."""
    return f"{CLIENT} {kind} {id}"


def list_key(name: str, kind: str, id: str) -> str:
    """Where an entry of a list is kept."""
    return f"{name} {kind} {id}"


def parts_of(name: bytes) -> tuple[str, str, str]:
    """Of a key what stands first, the kind and the id, which may itself hold spaces."""
    first, _, rest = name.decode().partition(" ")
    kind, _, id = rest.partition(" ")
    return first, kind, id
