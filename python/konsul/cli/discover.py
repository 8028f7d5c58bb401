"""Which command groups exist: konsulctl's own, and those in the features' `cli.py`.

A feature's `cli.py` holds `COMMANDS`, a tuple of `Group` and `Single`. Features are named in
`konsul.features.FEATURES`; they are imported by name, so that this room depends on none of them, and only
their `cli.py`, never their server side.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec

from konsul.cli.command import Group, Single

OWN = {
    "graphql": "konsul.cli.graphql_group",
    "dns": "konsul.cli.dns_group",
    "version": "konsul.cli.version",
    "profile": "konsul.cli.profile_group",
    "tls": "konsul.cli.tls_group",
    "completion": "konsul.cli.completion",
}


def groups() -> list[Group | Single]:
    """Every group, in the order of the help: the features' by name, then konsulctl's own."""
    found = [group for word in _words() for group in _of_feature(word)]
    own = [group for module in OWN.values() for group in _groups(module)]
    return [*sorted(found, key=lambda group: group.name), *own]


def find(name: str) -> Group | Single | None:
    """The group of that name. A feature called like its group is the only one imported."""
    if name in OWN:
        return next(iter(_groups(OWN[name])))
    words = _words()
    for word in sorted(words, key=lambda word: word != name):
        for group in _of_feature(word):
            if group.name == name:
                return group
    return None


def _words() -> tuple[str, ...]:
    words: tuple[str, ...] = import_module("konsul.features").FEATURES
    return words


def _of_feature(word: str) -> Iterator[Group | Single]:
    module = f"konsul.features.{word}.cli"
    return _groups(module) if find_spec(module) else iter(())


def _groups(module: str) -> Iterator[Group | Single]:
    groups: tuple[Group | Single, ...] = import_module(module).COMMANDS
    return iter(groups)
