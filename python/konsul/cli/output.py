"""Results on stdout in the form asked for, everything else on stderr."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import typer

from konsul.cli.options import Form

_TAKES_OVER = re.compile(
    r"(\x1b\[[0-9;]*m)|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
"""What a terminal does not show but obeys, colours apart; and what turns a line's direction around."""


def harmless(text: str) -> str:
    """The text as a terminal may be given it: others wrote the outputs and names in it."""
    return _TAKES_OVER.sub(lambda found: found[1] or "?", text)


@dataclass(frozen=True, slots=True)
class Painted:
    """A word with a colour, which shows on terminals only."""

    text: str
    color: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings; a cell may be `Painted`."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


class Printer:
    """Writes results, acknowledgements, warnings and errors. Colours appear on terminals only."""

    def __init__(self, form: Form, *, quiet: bool, color: bool) -> None:
        self.form = form
        self.quiet = quiet
        self._color = color

    def show(self, document: Any, *, text: str, table: Table | None = None, raw: bytes | None = None) -> None:
        """A result: `document` for json and yaml, `text` for people, `table` and `raw` where they make
        sense."""
        if self.form is Form.JSON:
            self._echo(json.dumps(document, ensure_ascii=False, indent=2))
        elif self.form is Form.YAML:
            import yaml

            typer.echo(yaml.safe_dump(document, allow_unicode=True, sort_keys=False), nl=False)
        elif self.form is Form.TABLE and table is not None:
            self._table(table)
        elif self.form is Form.RAW and raw is not None:
            self.bytes(raw)
        elif text:
            self._echo(text)

    def done(self, text: str, document: Any) -> None:
        """An acknowledgement: silent when quiet."""
        if not self.quiet:
            self.show(document, text=text)

    def lines(self, lines: Iterable[str]) -> None:
        """Lines of text as they come; for listings longer than memory."""
        for line in lines:
            self._echo(line)

    def bytes(self, value: bytes) -> None:
        """Bytes exactly as they are."""
        sys.stdout.flush()
        sys.stdout.buffer.write(value)
        sys.stdout.buffer.flush()

    def note(self, message: str) -> None:
        """A remark on stderr; silent when quiet."""
        if not self.quiet:
            typer.echo(message, err=True)

    def warn(self, message: str) -> None:
        """A warning on stderr; silent when quiet."""
        if not self.quiet:
            typer.echo(f"{self._style('Warning:', 'yellow', sys.stderr)} {message}", err=True)

    def error(self, head: str, cause: str) -> None:
        """An error on stderr."""
        shown = harmless(cause) if sys.stderr.isatty() else cause
        typer.echo(f"{self._style(head, 'red', sys.stderr)} {shown}", err=True)

    def mark(self, text: str, good: bool) -> str:
        """A status word, green or red on a terminal."""
        return self._style(text, "green" if good else "red", sys.stdout)

    def paint(self, cell: object) -> str:
        """A cell as text, coloured on a terminal if it is `Painted`."""
        return self._style(cell.text, cell.color, sys.stdout) if isinstance(cell, Painted) else str(cell)

    def aligned(self, rows: Sequence[Sequence[object]]) -> list[str]:
        """Rows as lines of text with their columns under one another; cells may be `Painted`."""
        widths = [max(len(str(cell)) for cell in column) for column in zip(*rows, strict=True)]
        return [
            "  ".join(
                self.paint(cell) + " " * (width - len(str(cell)))
                for cell, width in zip(row, widths, strict=True)
            ).rstrip()
            for row in rows
        ]

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """A progress bar on stderr, when that is a terminal and quiet is not asked for."""
        if self.quiet or not sys.stderr.isatty():
            yield lambda _: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True, no_color=not self._color)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda count: bar.advance(task, count)

    def _echo(self, text: str) -> None:
        """Programs get what there is, terminals what is harmless."""
        typer.echo(harmless(text) if sys.stdout.isatty() else text)

    def _table(self, table: Table) -> None:
        from rich import box
        from rich.console import Console
        from rich.table import Table as Grid

        width = None if sys.stdout.isatty() else 1_000_000
        console = Console(
            file=sys.stdout, no_color=not self._color, width=width, highlight=False, markup=False
        )
        grid = Grid(box=box.SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False)
        for column in table.columns:
            grid.add_column(column, no_wrap=not sys.stdout.isatty(), overflow="fold")
        for row in table.rows:
            grid.add_row(*(_painted_text(cell) for cell in row))
        console.print(grid, soft_wrap=not sys.stdout.isatty())

    def _style(self, text: str, color: str, stream: Any) -> str:
        return typer.style(text, fg=color, bold=True) if self._color and stream.isatty() else text


def _painted_text(cell: object) -> Any:
    from rich.text import Text

    return (
        Text(cell.text, style=f"bold {cell.color}")
        if isinstance(cell, Painted)
        else Text(harmless(str(cell)))
    )
