"""Checks policy documents: strictly, because a misspelt `deny` that is accepted protects nothing.

Every problem is found, with its place and the value that does not fit; what is found is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import orjson

from konsul.errors import Invalid
from konsul.features.acl.policy import (
    CAPABILITIES,
    DESCRIPTION_MAX,
    DOCUMENT_MAX_BYTES,
    PATTERN_MAX_BYTES,
    RULES_MAX,
    SELECTORS,
    WILDCARDS_MAX,
    Policy,
    Rule,
)

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
NAME_EXPECTED: Final = "expected 1 to 64 of A-Z a-z 0-9 _ -"
NO_NAME: Final = "invalid policy"
"""What the first Konsul said of a policy without a name."""
PROBLEMS_MAX: Final = 100
_SHOWN_MAX: Final = 80
_STARS: Final = re.compile(r"\*+")
_MEMBERS: Final = frozenset(("name", "description", "source", *SELECTORS))
"""`source` is what answers say of a policy: sent back, it changes nothing."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong. `at`: where, as `kv[2].path`; "" is the document. `value`: what stands there, cut."""

    at: str
    text: str
    value: str = ""

    def __str__(self) -> str:
        if not self.at:
            return self.text
        return f"{self.at} is {self.value}: {self.text}" if self.value else f"{self.at}: {self.text}"

    def document(self) -> dict[str, str]:
        """As `POST /acl/validate` tells it."""
        return {"at": self.at, "problem": self.text, "value": self.value}


def problems(document: object) -> list[Problem]:
    """All that is wrong with a decoded document, at most `PROBLEMS_MAX`; empty if it can be used."""
    return list(islice(_problems(document), PROBLEMS_MAX))


def checked(document: object) -> Policy:
    """The policy that a decoded document describes.

    Raises:
        Invalid: it describes none; names the first problem and the value.
    """
    first = next(_problems(document), None)
    if first is not None:
        raise Invalid(str(first))
    assert isinstance(document, dict)  # noqa: S101 - the check above found an object
    rules = [
        Rule(resource, rule.get(selector, "") if selector else "", tuple(dict.fromkeys(rule["capabilities"])))
        for resource, selector in SELECTORS.items()
        for rule in document.get(resource) or ()
    ]
    return Policy(document["name"], document.get("description") or "", tuple(rules))


def parsed(text: bytes) -> Policy:
    """As `checked`, of JSON text. Raises Invalid also for what is no JSON and for what is too large."""
    if len(text) > DOCUMENT_MAX_BYTES:
        raise Invalid(f"the document is over {DOCUMENT_MAX_BYTES} bytes")
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"not JSON: {error}") from None
    return checked(document)


def _problems(document: object) -> Iterator[Problem]:
    if not isinstance(document, dict):
        yield Problem("", "expected a JSON object")
        return
    name = document.get("name")
    if name is None or name == "":
        yield Problem("", NO_NAME)
    elif not isinstance(name, str) or not NAME.fullmatch(name):
        yield Problem("name", NAME_EXPECTED, _shown(name))
    description = document.get("description")
    if description is not None and not isinstance(description, str):
        yield Problem("description", "expected a text", _shown(description))
    elif description is not None and len(description) > DESCRIPTION_MAX:
        yield Problem("description", f"expected at most {DESCRIPTION_MAX} characters", _shown(description))
    for member in document:
        if member not in _MEMBERS:
            expected = ", ".join(("name", "description", *SELECTORS))
            yield Problem(_cut(member), f"no such member: expected {expected}")
    yield from _all_rules(document)


def _all_rules(document: Mapping[str, Any]) -> Iterator[Problem]:
    count = 0
    for resource in SELECTORS:
        rules = document.get(resource)
        if rules is None:
            continue
        if not isinstance(rules, list):
            yield Problem(resource, "expected a list of rules", _shown(rules))
            continue
        count += len(rules)
        if count > RULES_MAX:
            yield Problem(resource, f"a policy has at most {RULES_MAX} rules")
            return
        for number, rule in enumerate(rules):
            yield from _of_rule(f"{resource}[{number}]", resource, rule)


def _of_rule(at: str, resource: str, rule: object) -> Iterator[Problem]:
    selector = SELECTORS[resource]
    members = ("capabilities",) if selector is None else (selector, "capabilities")
    if not isinstance(rule, dict):
        yield Problem(at, f"expected an object with {' and '.join(members)}", _shown(rule))
        return
    for member in rule:
        if member not in members:
            yield Problem(f"{at}.{_cut(member)}", f"no such member: expected {' and '.join(members)}")
    if selector is not None:
        yield from _of_pattern(f"{at}.{selector}", rule.get(selector))
    yield from _of_capabilities(f"{at}.capabilities", CAPABILITIES[resource], rule.get("capabilities"))


def _of_pattern(at: str, pattern: object) -> Iterator[Problem]:
    if pattern is None:
        yield Problem(at, "expected a pattern")
    elif not isinstance(pattern, str) or not pattern:
        yield Problem(at, "expected a pattern", _shown(pattern))
    elif len(pattern.encode()) > PATTERN_MAX_BYTES:
        yield Problem(at, f"expected at most {PATTERN_MAX_BYTES} bytes", _shown(pattern))
    else:
        runs = _STARS.findall(pattern)
        if len(runs) > WILDCARDS_MAX:
            yield Problem(at, f"expected at most {WILDCARDS_MAX} wildcards", _shown(pattern))
        if any(len(run) > 2 for run in runs):
            yield Problem(at, "expected * or **, not more of them in a row", _shown(pattern))


def _of_capabilities(at: str, known: tuple[str, ...], given: object) -> Iterator[Problem]:
    expected = f"expected {', '.join(known[:-1])} or {known[-1]}"
    if not isinstance(given, list) or not given:
        yield Problem(at, f"{expected}, at least one in a list", "" if given is None else _shown(given))
        return
    for number, one in enumerate(given):
        if one not in known:
            yield Problem(f"{at}[{number}]", expected, _shown(one))


def _shown(value: object) -> str:
    """The value as JSON, short enough for a message."""
    try:
        return _cut(orjson.dumps(value).decode())
    except orjson.JSONEncodeError:
        # It reads deeper nesting than it writes.
        return "(too deep to be shown)"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "..."
