"""The node file: who the nodes are, and the commands that upgrade and restore one.

[commands]                    # for every node; a node may have its own
upgrade = "ssh {host} sudo konsul-install {version}"
restore = "ssh {host} sudo konsul-install --previous"

[[node]]
id = "n1"
http = "http://10.0.0.1:8888"
host = "10.0.0.1"             # any further name fills {host}, {rack}, ...
"""

from __future__ import annotations

import shlex
import string
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMANDS = ("upgrade", "restore")


class Misused(Exception):
    """The command line or the node file makes no sense; nothing was touched."""


@dataclass(frozen=True)
class NodePlan:
    """One node: its name in the cluster, the URL of its HTTP API, its two commands as words."""

    id: str
    http: str
    upgrade: tuple[str, ...]
    restore: tuple[str, ...]


Nodes = tuple[NodePlan, ...]


def load(path: Path, settings: Sequence[str] = ()) -> Nodes:
    """The nodes of a file, in its order. `settings` are NAME=VALUE for the commands.

    Raises:
        Misused: the file cannot be read or makes no sense, a command names something that nobody set.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as cause:
        raise Misused(f"cannot read {path}: {cause.strerror}") from cause
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as cause:
        raise Misused(f"{path} is not valid TOML: {cause}") from cause
    entries = document.get("node")
    if not isinstance(entries, list) or not entries:
        raise Misused(f"{path} has no [[node]]")
    common = _table(document.get("commands", {}), f"{path}, [commands]")
    given = dict(_setting(text) for text in settings)
    nodes = tuple(_node(entry, common, given, f"{path}, node {n}") for n, entry in enumerate(entries, 1))
    names = [node.id for node in nodes]
    if len(set(names)) < len(names):
        raise Misused(f"{path} names a node twice")
    return nodes


def _node(entry: Any, common: Mapping[str, str], given: Mapping[str, str], where: str) -> NodePlan:
    own = _table(entry, where)
    for name in ("id", "http"):
        if not own.get(name):
            raise Misused(f"{where}: {name} is missing")
    if not own["http"].startswith(("http://", "https://")):
        raise Misused(f"{where}: http is {own['http']!r}, expected a URL such as http://10.0.0.1:8888")
    templates = {name: own.get(name, common.get(name, "")) for name in COMMANDS}
    fields = {name: value for name, value in (own | dict(given)).items() if name not in COMMANDS}
    words = {name: _words(template, fields, f"{where}, {name}") for name, template in templates.items()}
    return NodePlan(own["id"], own["http"].rstrip("/"), words["upgrade"], words["restore"])


def _words(template: str, fields: Mapping[str, str], where: str) -> tuple[str, ...]:
    """The template as words, filled after they were cut: a value cannot add words, and no shell is asked."""
    if not template.strip():
        raise Misused(f"{where}: there is no such command")
    try:
        words = shlex.split(template)
        names = {
            field for word in words for _, field, _, _ in string.Formatter().parse(word) if field is not None
        }
    except ValueError as cause:
        raise Misused(f"{where}: {cause}") from cause
    unknown = sorted(names - fields.keys())
    if unknown:
        raise Misused(
            f"{where}: nothing fills {{{unknown[0]}}}; add it to the node, or --set {unknown[0]}=VALUE"
        )
    return tuple(word.format_map(fields) for word in words)


def _table(entry: Any, where: str) -> dict[str, str]:
    if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
        raise Misused(f"{where}: expected names with texts")
    return dict(entry)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise Misused(f"--set {text}: expected NAME=VALUE")
    return name, value
