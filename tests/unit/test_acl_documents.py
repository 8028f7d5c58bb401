"""Policy documents are checked strictly: what is misspelt is named, with its place and its value."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konsul.engine import Access
from konsul.errors import Invalid
from konsul.features.acl.documents import PROBLEMS_MAX, checked, parsed, problems
from konsul.features.acl.policy import CAPABILITIES, DOCUMENT_MAX_BYTES, RULES_MAX, SELECTORS

DEV: dict[str, Any] = {
    "name": "dev",
    "description": "text",
    "kv": [
        {"path": "app/config/*", "capabilities": ["read", "list"]},
        {"path": "app/secrets/**", "capabilities": ["deny"]},
    ],
    "service": [{"name": "web-*", "capabilities": ["read", "register", "deregister"]}],
    "health": [{"capabilities": ["read"]}],
    "backup": [{"capabilities": ["create"]}],
    "admin": [{"capabilities": ["read"]}],
}
RULE: dict[str, Any] = {"path": "a", "capabilities": ["read"]}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "invalid policy"),
    ({"name": ""}, "invalid policy"),
    ({"name": "../../x"}, 'name is "../../x": expected 1 to 64 of A-Z a-z 0-9 _ -'),
    ({"name": "a" * 65}, "name is "),
    ({"name": "a\n"}, "name is "),
    ({"name": 7}, "name is 7: expected 1 to 64"),
    ({"name": "p", "description": 7}, "description is 7: expected a text"),
    ({"name": "p", "KV": []}, "KV: no such member: expected name, description, kv, service"),
    ({"name": "p", "kv": {}}, "kv is {}: expected a list of rules"),
    ({"name": "p", "kv": [7]}, "kv[0] is 7: expected an object with path and capabilities"),
    ({"name": "p", "kv": [{"capabilities": ["read"]}]}, "kv[0].path: expected a pattern"),
    ({"name": "p", "kv": [RULE | {"path": ""}]}, 'kv[0].path is "": expected a pattern'),
    ({"name": "p", "kv": [RULE | {"name": "x"}]}, "kv[0].name: no such member"),
    ({"name": "p", "kv": [RULE, RULE | {"path": "a***"}]}, 'kv[1].path is "a***": expected * or **'),
    ({"name": "p", "kv": [RULE | {"path": "*a" * 17}]}, "kv[0].path is "),
    ({"name": "p", "kv": [RULE | {"path": "é" * 513}]}, "kv[0].path is "),
    (
        {"name": "p", "kv": [RULE | {"capabilities": ["read", "dney"]}]},
        'kv[0].capabilities[1] is "dney": expected read, write, list, delete or deny',
    ),
    ({"name": "p", "kv": [RULE | {"capabilities": []}]}, "kv[0].capabilities is []: expected read"),
    ({"name": "p", "kv": [{"path": "a"}]}, "kv[0].capabilities: expected read"),
    ({"name": "p", "kv": [RULE | {"capabilities": "read"}]}, 'kv[0].capabilities is "read"'),
    ({"name": "p", "health": [{"path": "a", "capabilities": ["read"]}]}, "health[0].path: no such member"),
    ({"name": "p", "health": [{"capabilities": ["list"]}]}, 'health[0].capabilities[0] is "list"'),
    ({"name": "p", "kv": [RULE] * (RULES_MAX + 1)}, f"kv: a policy has at most {RULES_MAX} rules"),
]


def test_a_sound_document_comes_back_as_it_was() -> None:
    assert problems(DEV) == []
    assert checked(DEV).document() == DEV


def test_null_stands_for_absent_and_what_answers_add_is_taken_back() -> None:
    policy = checked({"name": "p", "description": None, "kv": None, "source": "api"})
    assert policy.document() == {"name": "p", "description": ""}


@pytest.mark.parametrize(("document", "text"), WRONG)
def test_what_is_wrong_is_said_with_place_and_value(document: dict[str, Any], text: str) -> None:
    with pytest.raises(Invalid) as caught:
        checked(document)
    assert str(caught.value).startswith(text)


def test_every_problem_is_found_and_their_number_is_bounded() -> None:
    found = problems({"name": "!", "kv": [{"path": "", "capabilities": ["x"]}], "zz": 1})
    assert [one.at for one in found] == ["name", "zz", "kv[0].path", "kv[0].capabilities[0]"]
    assert len(problems({"name": "p", "kv": [{} for _ in range(RULES_MAX)]})) == PROBLEMS_MAX


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b'{"name":"p"}x', b"\xff"])
def test_what_is_no_object_is_no_policy(text: bytes) -> None:
    with pytest.raises(Invalid):
        parsed(text)


def test_a_document_may_not_be_too_large() -> None:
    with pytest.raises(Invalid, match="over 262144 bytes"):
        parsed(b" " * (DOCUMENT_MAX_BYTES + 1))


def test_a_value_too_deep_to_be_shown_is_no_defect() -> None:
    deep: Any = 0
    for _ in range(900):
        deep = [deep]
    assert problems({"name": "p", "description": deep})[0].value == "(too deep to be shown)"


PATTERN = st.text(st.sampled_from("ab/*é\\|^$[]?."), min_size=1, max_size=24)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Documents of which most are sound."""
    found: dict[str, Any] = {"name": "p"}
    for resource, selector in SELECTORS.items():
        rules = []
        for _ in range(draw(st.integers(0, 3))):
            rule: dict[str, Any] = {} if selector is None else {selector: draw(PATTERN)}
            chosen = st.lists(st.sampled_from(CAPABILITIES[resource]), min_size=1)
            rules.append(rule | {"capabilities": draw(chosen)})
        found[resource] = rules
    return found


@given(documents())
def test_the_core_takes_whatever_is_sound_here(document: dict[str, Any]) -> None:
    if not problems(document):
        Access().set([checked(document).native()], False)
