"""The generated parts of the reference: between two marks stands what the program itself says.

`python -m tests.tidy.pages` writes them (`make fix` does); a test fails while they differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from konsul.cli import discover
from konsul.cli.command import Group, Single
from konsul.cli.options import parameters
from konsul.features import FEATURES
from konsul.kernel import settings
from konsul.kernel.config import declarations
from konsul.kernel.feature import load_all
from konsul.server.arguments import reference
from tests.tidy.tree import ROOT

REFERENCE = ROOT / "docs" / "reference"


def settings_table() -> str:
    groups = [*settings.GROUPS, *(f.config for f in load_all(FEATURES) if f.config is not None)]
    return reference(declarations(groups))


def command_tables() -> str:
    return "\n\n".join(_group(group) for group in discover.groups())


def global_flags_table() -> str:
    return "\n".join(["| flag | what |", "| --- | --- |", *_flags(parameters(hidden=False))])


def graphql_schema() -> str:
    # Imported here: nothing else of these pages needs the GraphQL library.
    from konsul.doors.graphql.schema import build

    return build(load_all(FEATURES)).as_str() + "\n"


def _group(group: Group | Single) -> str:
    name = group.name
    made: Any = group.build()
    rows = [row for words, one in _actions(name, made) for row in _command(words, one)]
    return "\n".join(
        [f"### {name}", _first_line(made.help), "", "| command | what |", "| --- | --- |", *rows]
    )


def _actions(words: str, made: Any) -> Iterator[tuple[str, Any]]:
    """The actions of a group and of the groups within it; a group without any is an action itself."""
    if made.hidden:
        return
    below = getattr(made, "commands", None)
    if below is None:
        yield words, made
        return
    for word, one in below.items():
        yield from _actions(f"{words} {word}", one)


def _command(words: str, command: Any) -> Iterator[str]:
    arguments = [one.metavar for one in command.params if one.param_type_name == "argument"]
    usage = " ".join(["konsulctl", words, *filter(None, arguments)])
    yield f"| `{_escaped(usage)}` | {_first_line(command.help)} |"
    options = [one for one in command.params if one.param_type_name == "option" and not one.hidden]
    yield from _flags(options)


def _flags(options: Iterable[Any]) -> Iterator[str]:
    for one in options:
        spelling = ", ".join(one.opts) + (f" {one.metavar}" if one.metavar else "")
        yield f"| `{_escaped(spelling)}` | {_first_line(one.help)} |"


def _first_line(text: str | None) -> str:
    return _escaped(re.sub(r"\s+", " ", (text or "").split("\n\n")[0]).strip())


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "config.md": {"settings": settings_table},
    "cli.md": {"commands": command_tables, "flags": global_flags_table},
}

WHOLE: dict[str, Callable[[], str]] = {"graphql.graphql": graphql_schema}
"""Files that are generated from the first line to the last."""


def marks(part: str) -> tuple[str, str]:
    return f"<!-- generated: {part} -->\n", f"\n<!-- end: {part} -->"


def renewed(page: Path) -> str:
    """The page's text with its generated parts as the program says them now."""
    text = page.read_text(encoding="utf-8")
    for part, generate in PARTS[page.name].items():
        start, end = marks(part)
        before, _, rest = text.partition(start)
        _, _, after = rest.partition(end)
        text = before + start + generate() + end + after
    return text


def main() -> None:
    for name in PARTS:
        page = REFERENCE / name
        page.write_text(renewed(page), encoding="utf-8")
    for name, generate in WHOLE.items():
        (REFERENCE / name).write_text(generate(), encoding="utf-8")


if __name__ == "__main__":
    main()
