"""The table of threats in docs/concepts/security.md names tests that exist."""

from __future__ import annotations

import ast
import re

from tests.tidy.tree import ROOT

PAGE = ROOT / "docs" / "concepts" / "security.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)?::(test_\w+)`")


def names_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_threat_has_a_defence_and_a_test_that_exists() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][2:]
    assert len(rows) >= 20
    path = ""
    for row in rows:
        named = NAMED.findall(row)
        assert named, row
        for folder, name in named:
            path = folder or path
            assert name in names_in(path), f"{path}::{name}"
