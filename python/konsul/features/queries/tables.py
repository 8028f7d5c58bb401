"""The one table of prepared queries."""

from __future__ import annotations

from konsul.features.sessions.tables import Session
from konsul.kernel import entry
from konsul.kernel.schema import Row, index, json_column, key, ref, table


@table("prepared_queries", id=20)
class PreparedQuery(Row):
    """A query by its id. It goes with its session."""

    id: str = key()
    lookup: str | None = index(unique=True, default=None)
    """`=` and the name in lower case, as DNS asks for it; None without a name. The `=` is for the template of
    the empty name: a unique index does not hold what is empty."""
    template: str = index(default="")
    """The template's type, empty for none."""
    session: str | None = ref(Session, default=None, then=lambda: [entry.delete(PreparedQuery, entry.SELF)])
    document: bytes | None = json_column(default=None)
    """As `documents.checked` completed it."""


def lookup_of(name: str) -> str:
    """What a name is found by."""
    return f"={name.lower()}"
