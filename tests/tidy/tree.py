"""The files of the repository, and the functions in them."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = {".py", ".pyi", ".pyx", ".pxd", ".rs", ".sh"}


@dataclass(frozen=True)
class Source:
    """One text file of the repository; `path` is relative to its root."""

    path: str
    text: str

    @property
    def suffix(self) -> str:
        return Path(self.path).suffix

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def is_code(self) -> bool:
        return self.suffix in CODE or self.path in ("Makefile", ".ci/run")

    @property
    def is_test(self) -> bool:
        return self.path.startswith("tests/")


@dataclass(frozen=True)
class Function:
    """Where a function is and how many lines it has, decorators left out."""

    name: str
    line: int
    length: int


@cache
def sources() -> tuple[Source, ...]:
    """Every text file that git knows or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=60,
    )
    found = []
    for name in listed.stdout.decode().split("\0"):
        path = ROOT / name
        if not name or not path.is_file():
            continue
        try:
            found.append(Source(name, path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return tuple(found)


def functions(source: Source) -> Iterator[Function]:
    if source.suffix in (".py", ".pyi"):
        yield from _python(source)
    elif source.suffix in (".pyx", ".pxd"):
        yield from _cython(source)
    elif source.suffix == ".rs":
        yield from _rust(source)


def _python(source: Source) -> Iterator[Function]:
    for node in ast.walk(ast.parse(source.text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield Function(node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1)


_CYTHON = re.compile(r"^(?P<indent>\s*)(?:async\s+)?(?:def|cdef|cpdef)\s[^=]*?(?P<name>\w+)\s*\(")


def _cython(source: Source) -> Iterator[Function]:
    lines = source.lines
    for number, line in enumerate(lines):
        match = _CYTHON.match(line)
        if match is None:
            continue
        indent = len(match["indent"])
        last = number
        for later in range(number + 1, len(lines)):
            text = lines[later]
            if (
                text.strip()
                and len(text) - len(text.lstrip()) <= indent
                and not text.lstrip().startswith(")")
            ):
                break
            last = later if text.strip() else last
        yield Function(match["name"], number + 1, last - number + 1)


_RUST = re.compile(r"^\s*(?:pub(?:\([^)]*\))?\s+)?(?:const\s+|async\s+|unsafe\s+|extern\s+\S+\s+)*fn\s+(\w+)")
_NOISE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|b?r(\#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?'(?:\\(?:x..|u\{[^}]*\}|.)|[^'\\])'""",
    re.DOTALL,
)


def _rust(source: Source) -> Iterator[Function]:
    """Counts braces over text whose comments, strings and chars are blanked, so that none misleads."""
    blank = _NOISE.sub(lambda hit: re.sub(r"[^\n]", " ", hit[0]), source.text)
    lines = blank.splitlines()
    for number, line in enumerate(lines):
        match = _RUST.match(line)
        if match is None:
            continue
        depth = 0
        for later in range(number, len(lines)):
            depth += lines[later].count("{") - lines[later].count("}")
            opened = "{" in "".join(lines[number : later + 1]) if later - number < 40 else True
            if (opened and depth <= 0) or (not opened and ";" in lines[later]):
                yield Function(match[1], number + 1, later - number + 1)
                break
