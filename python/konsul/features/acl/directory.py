"""Policies from a directory: read whole, checked whole, and never from outside it.

Symbolic links are followed inside only: a mounted ConfigMap is made of them, and a link to `/etc` is none.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import orjson

from konsul.errors import Invalid
from konsul.features.acl.documents import NAME, parsed
from konsul.features.acl.policy import DOCUMENT_MAX_BYTES, POLICIES_MAX, Policy

SUFFIX: Final = ".json"
FILES_MAX: Final = POLICIES_MAX
_ENTRIES_MAX: Final = 10_000
"""Names looked at in the directory, of whatever kind."""
Marks: TypeAlias = tuple[tuple[str, int, int, int], ...]
"""Name, inode, size and time of change of every file: equal marks mean equal content."""


class DirectoryUnreadable(Exception):
    """The directory itself cannot be read; the text says why. `missing`: there is none."""

    def __init__(self, why: str, *, missing: bool = False) -> None:
        super().__init__(why)
        self.missing = missing


@dataclass(frozen=True, slots=True)
class Found:
    """What one reading found. `wrong`: file name -> why it is not used; `meant`: the policy that such a file
    was to be -> its file."""

    policies: Mapping[str, Policy] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """Policy name -> file name."""
    wrong: Mapping[str, str] = field(default_factory=dict)
    meant: Mapping[str, str] = field(default_factory=dict)


class PolicyDirectory:
    """One directory of `*.json` files, one policy each."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._root = Path(path)

    def marks(self) -> Marks:
        """What tells one content from another.

        Raises:
            DirectoryUnreadable: there is no such directory, or it may not be read.
        """
        return tuple(_mark(self._root / name, name) for name in self._names())

    def read(self) -> Found:
        """Every file in the order of the names; of two with one policy name the first is taken.

        Raises:
            DirectoryUnreadable: as `marks`.
        """
        policies: dict[str, Policy] = {}
        files: dict[str, str] = {}
        wrong: dict[str, str] = {}
        meant: dict[str, str] = {}
        names = self._names()
        for name in names[FILES_MAX:]:
            wrong[name] = f"there are more than {FILES_MAX} files"
        for name in names[:FILES_MAX]:
            content = b""
            try:
                content = self._content(name)
                policy = parsed(content)
            except Invalid as error:
                wrong[name] = str(error)
                meant[_meant(content, name)] = name
                continue
            if policy.name in policies:
                wrong[name] = f"the policy {policy.name} is already in {files[policy.name]}"
                continue
            policies[policy.name] = policy
            files[policy.name] = name
        return Found(policies, files, wrong, {name: meant[name] for name in meant.keys() - policies.keys()})

    def _names(self) -> list[str]:
        names: list[str] = []
        try:
            with os.scandir(self._root) as entries:
                for seen, entry in enumerate(entries):
                    if seen >= _ENTRIES_MAX:
                        raise DirectoryUnreadable(f"it has more than {_ENTRIES_MAX} entries")
                    if entry.name.endswith(SUFFIX) and not entry.name.startswith("."):
                        names.append(entry.name)
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise DirectoryUnreadable(why, missing=isinstance(error, FileNotFoundError)) from None
        return sorted(names)

    def _content(self, name: str) -> bytes:
        """The file's bytes. Raises Invalid for what is no file of this directory or cannot be read."""
        try:
            root = self._root.resolve(strict=True)
            target = (root / name).resolve(strict=True)
            if not target.is_relative_to(root):
                raise Invalid("it leads out of the directory")
            # NONBLOCK: a pipe that somebody put here must not hold the node.
            handle = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                mode = os.fstat(handle).st_mode
                if not stat.S_ISREG(mode):
                    raise Invalid("it is no file")
                if mode & stat.S_IWOTH:
                    raise Invalid("everybody may change it: run chmod o-w")
                with open(handle, "rb", closefd=False) as file:
                    content = file.read(DOCUMENT_MAX_BYTES + 1)
            finally:
                os.close(handle)
        except (OSError, RuntimeError) as error:
            # Older Pythons say RuntimeError of links that go round.
            raise Invalid(f"it cannot be read: {getattr(error, 'strerror', None) or error}") from None
        return content


def _meant(content: bytes, file: str) -> str:
    """Which policy a file was to be: what it says of that itself, else what it is called."""
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        document = None
    name = document.get("name") if isinstance(document, dict) else None
    is_name = isinstance(name, str) and NAME.fullmatch(name) is not None
    return str(name) if is_name else file.removesuffix(SUFFIX)


def _mark(path: Path, name: str) -> tuple[str, int, int, int]:
    try:
        seen = os.stat(path)
    except OSError:
        # A link to nowhere: read, it is reported; here it only has to differ from a file.
        return name, 0, 0, 0
    return name, seen.st_ino, seen.st_size, seen.st_mtime_ns
