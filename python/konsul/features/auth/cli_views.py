"""How users and API keys are shown. Imports the client's side only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from konsul.cli.output import Table

if TYPE_CHECKING:
    from konsul.cli.session import Session

Document = dict[str, Any]


def show_all(
    session: Session,
    found: Sequence[Document],
    what: str,
    columns: Sequence[str],
    line: Callable[[Document], list[str]],
) -> None:
    """All of them, `line` as text of one."""
    lines = [f"  {text}" for text in session.out.aligned([line(one) for one in found])]
    text = "\n".join([f"{what[0].upper()}{what[1:]}:", *lines]) if found else f"No {what} found"
    session.out.show(list(found), text=text, table=_table(columns, found))


def show_one(session: Session, document: Document, columns: Sequence[str]) -> None:
    """One with all its members."""
    rows = [(f"{name}:", shown(value)) for name, value in document.items()]
    text = "\n".join(session.out.aligned(rows))
    session.out.show(document, text=text, table=_table(columns, [document]))


def shown(value: Any) -> str:
    """A member's value as text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name}={one}" for name, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _table(columns: Sequence[str], found: Sequence[Document]) -> Table:
    return Table(tuple(columns), [[shown(one.get(name)) for name in columns] for one in found])
