"""What is built in, without a network: licences, sources and bans by deny.toml, reasons for exceptions."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import tomllib
from functools import cache
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.security.known_flaws import Report, judge, read
from tests.tidy.tree import ROOT, sources

DENY: dict[str, Any] = tomllib.loads((ROOT / "deny.toml").read_text(encoding="utf-8"))
ALLOWED = set(DENY["licenses"]["allow"])
PYTHON_EXCEPTIONS = {
    "certifi": "MPL-2.0: a list of certificates, used as published",
    "orjson": "MPL-2.0: used as published, its files stay under it",
    "typing-extensions": "PSF-2.0: Python's own, permissive",
}
TEXTS = {
    "MIT License": "MIT",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "Apache Software License": "Apache-2.0",
}
PERMISSIVE_TOO = {"MIT-0"}
"""Beside what crates have: MIT without its one duty."""
SWITCHED_OFF = re.compile(r"# noqa:[^#\n]*\bS\d{3}\b(?P<reason>[^\n]*)")


def satisfied(expression: str, allowed: set[str]) -> bool:
    """True if the licences of an SPDX expression let us use it under allowed ones; `/` is an old `OR`."""
    words = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))

    def any_of(at: int) -> tuple[bool, int]:
        value, at = all_of(at)
        while at < len(words) and words[at] == "OR":
            other, at = all_of(at + 1)
            value = value or other
        return value, at

    def all_of(at: int) -> tuple[bool, int]:
        value, at = one(at)
        while at < len(words) and words[at] == "AND":
            other, at = one(at + 1)
            value = value and other
        return value, at

    def one(at: int) -> tuple[bool, int]:
        if words[at] == "(":
            value, at = any_of(at + 1)
            return value, at + 1
        if at + 2 < len(words) and words[at + 1] == "WITH":
            return " ".join(words[at : at + 3]) in allowed, at + 3
        return words[at].removesuffix("+") in allowed, at + 1

    return any_of(0)[0]


@pytest.mark.parametrize(
    ("expression", "fits"),
    [
        ("MIT", True),
        ("MIT/GPL-3.0", True),
        ("GPL-3.0", False),
        ("MIT AND GPL-3.0", False),
        ("(MIT OR GPL-3.0) AND ISC", True),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", True),
        ("GPL-2.0 WITH LLVM-exception", False),
    ],
)
def test_licence_expressions_are_read(expression: str, fits: bool) -> None:
    assert satisfied(expression, ALLOWED) is fits


@cache
def crates() -> list[dict[str, Any]]:
    command = ["cargo", "metadata", "--locked", "--offline", "--format-version", "1", "--all-features"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=True)
    packages: list[dict[str, Any]] = json.loads(done.stdout)["packages"]
    return packages


def test_every_crate_is_under_a_licence_that_sets_no_terms() -> None:
    exceptions = {one["name"]: set(one["allow"]) for one in DENY["licenses"]["exceptions"]}
    assert len(crates()) > 100
    refused = [
        f"{crate['name']}: {crate['license']}"
        for crate in crates()
        if not satisfied(crate["license"] or "", ALLOWED | exceptions.get(crate["name"], set()))
    ]
    assert refused == []
    assert set(exceptions) <= {crate["name"] for crate in crates()}, "an exception for nothing"


def test_every_crate_comes_from_the_one_registry_or_from_here() -> None:
    assert (DENY["sources"]["unknown-registry"], DENY["sources"]["allow-git"]) == ("deny", [])
    (source,) = {crate["source"] for crate in crates()} - {None}
    assert source.startswith("registry+"), source
    outside = [
        crate["name"]
        for crate in crates()
        if crate["source"] is None and not crate["name"].startswith("konsul-")
    ]
    assert outside == []


def test_no_banned_crate_is_built_in() -> None:
    banned = {one["name"] for one in DENY["bans"]["deny"]}
    assert all(one["reason"] for one in DENY["bans"]["deny"])
    assert {crate["name"] for crate in crates()} & banned == set()


def test_every_ignored_advisory_has_a_reason() -> None:
    assert all(len(one["reason"]) > 20 for one in DENY["advisories"]["ignore"])


def shipped() -> set[str]:
    """The packages that are installed with the node, by name."""
    found: set[str] = set()
    waiting = ["konsul"]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        found.add(name)
        for text in importlib.metadata.distribution(name).requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found - {"konsul", "konsul-ext"}


def licence(name: str) -> str:
    about = importlib.metadata.metadata(name).json
    expression = about.get("license_expression")
    if expression:
        return str(expression)
    named = [
        line.rpartition(" :: ")[2] for line in about.get("classifier", []) if line.startswith("License ::")
    ]
    return " OR ".join(
        TEXTS.get(one, one.replace(" ", "-").replace("(", "").replace(")", "")) for one in named
    ) or str(about.get("license", ""))


def licence_by_word(name: str) -> str:
    return licence(name).replace("MIT-License", "MIT")


def test_every_python_package_that_is_shipped_is_permissive() -> None:
    allowed = ALLOWED | PERMISSIVE_TOO
    refused = {
        name: licence_by_word(name) for name in shipped() if not satisfied(licence_by_word(name), allowed)
    }
    assert set(refused) == set(PYTHON_EXCEPTIONS), refused


def test_every_shipped_package_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pins = {Requirement(text).name: text for text in project["tool"]["uv"]["constraint-dependencies"]}
    assert shipped() - set(pins) == set()
    assert [text for text in pins.values() if "==" not in text] == []


def test_every_security_rule_that_is_switched_off_says_why() -> None:
    silent = [
        f"{source.path}:{number}"
        for source in sources()
        if source.suffix == ".py" and source.path != "tests/security/test_supply_chain.py"
        for number, line in enumerate(source.lines, 1)
        if (found := SWITCHED_OFF.search(line)) and len(found["reason"].strip(" ,-")) < 5
    ]
    assert silent == []


def test_what_could_not_be_looked_up_is_not_called_clean() -> None:
    nothing = Report((), ("a", "b"), ())
    assert judge(nothing)[0] == 2
    assert judge(Report(("a",), (), ()))[0] == 0
    flawed = Report(("a",), (), (("a 1", "PYSEC-1"),))
    assert judge(flawed)[0] == 1
    assert judge(flawed, {"PYSEC-1": "not reached"})[0] == 0
    assert judge(Report(("a",), (), ()), {"PYSEC-1": "not reached"})[0] == 1
    page = {
        "dependencies": [
            {"name": "a", "version": "1", "vulns": [{"id": "X"}]},
            {"name": "b", "skip_reason": "?"},
        ]
    }
    assert read(json.dumps(page)) == Report(("a",), ("b",), (("a 1", "X"),))
