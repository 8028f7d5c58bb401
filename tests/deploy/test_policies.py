"""The stock policies are documents that a node takes, and give what their descriptions say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from konsul.engine import Access
from konsul.features.acl.documents import parsed
from tests.tidy.tree import ROOT

FOLDER = ROOT / "deploy" / "policies"
FILES = sorted(FOLDER.glob("*.json"))
GIVES = {
    "admin": [
        ("kv:delete", "a/b/c"),
        ("service:register", "s/1"),
        ("admin:write", ""),
        ("backup:restore", ""),
    ],
    "readonly": [("kv:read", "app/x/y"), ("kv:list", "a"), ("service:read", "web"), ("health:read", "")],
    "monitoring": [("admin:read", ""), ("service:list", "web"), ("health:read", "")],
    "developer": [("kv:write", "app/a/b"), ("service:register", "web"), ("kv:read", "app/secretsanta")],
}
DOES_NOT = {
    "admin": [],
    "readonly": [
        ("kv:write", "app/x"),
        ("service:register", "web"),
        ("admin:read", ""),
        ("backup:create", ""),
    ],
    "monitoring": [("kv:read", "app/x"), ("kv:list", "app"), ("admin:write", ""), ("health:write", "")],
    "developer": [
        ("kv:read", "app/secrets/db"),
        ("kv:read", "app/web/secrets/db"),
        ("kv:read", "ops/x"),
        ("admin:read", ""),
    ],
}


def test_there_are_the_four_and_each_is_named_as_its_file() -> None:
    assert [path.stem for path in FILES] == sorted(GIVES)
    assert all(json.loads(path.read_text(encoding="utf-8"))["name"] == path.stem for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_stock_policy_gives_what_it_says(path: Path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["description"].endswith(".")
    access = Access()
    access.set([parsed(path.read_bytes()).native()], False)
    grant = access.grant([path.stem])
    assert [one for one in GIVES[path.stem] if grant.decide(*one)[0] != 1] == []
    assert [one for one in DOES_NOT[path.stem] if grant.decide(*one)[0] != 0] == []
