"""Rules for code: how long, how named, and what may not be in it. Each yields one line per problem."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Set
from pathlib import PurePosixPath

from tests.tidy.tree import Source, functions, sources

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
COLUMNS_MAX = 110
BANNED_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "base", "impl"}
# Written apart, so that this file does not break its own rule.
UNFINISHED = re.compile(r"\b(?:TO" + "DO|FIX" + "ME|X" + r"XX)\b|\btodo!\(|\bunimplemented!\(")
NOT_RUN = re.compile(r"\bpytest\.(?:skip|xfail|importorskip)\b|\bmark\.(?:skip|skipif|xfail)\b|#\[ignore")
SLEEP = re.compile(r"\b(?:time|asyncio|anyio)\.sleep\((?!0\))|\bthread::sleep\(")
SLEEP_ALLOWED = {"tests/waiting.py"}
"""The one place that may pause: a wait for a condition, with a deadline. `sleep(0)` is no pause."""


def too_long_files() -> Iterator[str]:
    for source in sources():
        if source.is_code and len(source.lines) > FILE_LINES_MAX:
            yield f"{source.path}: {len(source.lines)} lines, at most {FILE_LINES_MAX}"


def too_long_functions() -> Iterator[str]:
    for source in sources():
        for function in functions(source):
            if function.length > FUNCTION_LINES_MAX:
                where = f"{source.path}:{function.line}"
                yield f"{where}: {function.name} has {function.length} lines, at most {FUNCTION_LINES_MAX}"


def too_wide_lines() -> Iterator[str]:
    for source in sources():
        for number, line in enumerate(source.lines, 1):
            if source.is_code and len(line) > COLUMNS_MAX:
                yield f"{source.path}:{number}: {len(line)} columns, at most {COLUMNS_MAX}"


def banned_names() -> Iterator[str]:
    for source in sources():
        path = PurePosixPath(source.path)
        for part in (*path.parts[:-1], path.stem):
            if source.is_code and part in BANNED_NAMES:
                yield f"{source.path}: {part!r} says nothing; name it after what it does"


def unfinished_work() -> Iterator[str]:
    for source in sources():
        for number, line in enumerate(source.lines, 1):
            if source.is_code and UNFINISHED.search(line):
                yield f"{source.path}:{number}: unfinished work: {line.strip()}"


def tests_that_do_not_run() -> Iterator[str]:
    yield from _in_tests(NOT_RUN, "a test that does not run proves nothing")


def sleeping_tests() -> Iterator[str]:
    yield from _in_tests(SLEEP, "wait for a condition with a deadline (tests/waiting.py)", SLEEP_ALLOWED)


def _in_tests(pattern: re.Pattern[str], why: str, allowed: Set[str] = frozenset()) -> Iterator[str]:
    for source in sources():
        if not (source.is_test and source.is_code) or source.path in {*allowed, "tests/tidy/code.py"}:
            continue
        for number, line in enumerate(source.lines, 1):
            if pattern.search(line):
                yield f"{source.path}:{number}: {why}: {line.strip()}"


def imports_of_the_core() -> Iterator[str]:
    """import-linter does not see a binary module, so the most important contract is checked here."""
    for source in sources():
        if not source.path.startswith("python/") or source.suffix != ".py":
            continue
        if source.path != "python/konsul/engine.py" and "konsul._core" in _imported(source):
            yield f"{source.path}: only engine.py may import konsul._core"


def _imported(source: Source) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(source.text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


RULES = (
    too_long_files,
    too_long_functions,
    too_wide_lines,
    banned_names,
    unfinished_work,
    tests_that_do_not_run,
    sleeping_tests,
    imports_of_the_core,
)
