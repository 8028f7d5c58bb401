"""How request bodies are read: lenient about names, strict about types."""

from __future__ import annotations

from typing import Any

import pytest

from konsul.errors import Invalid
from konsul.kernel import routing
from konsul.kernel.routing import decode_json, is_json, members

KINDS: dict[str, routing.Kind] = {
    "value": routing.TEXT,
    "cas": routing.MAYBE_U64,
    "tags": routing.TEXTS,
    "meta": routing.MAYBE_TEXT_MAP,
    "on": routing.BOOL,
}
EMPTY: dict[str, Any] = {"value": "", "cas": None, "tags": [], "meta": None, "on": False}


@pytest.mark.parametrize("body", [None, {}, {"unknown": 1}, {"value": None, "tags": None}])
def test_what_is_missing_null_or_unknown_leaves_the_empty_value(body: Any) -> None:
    assert members(body, KINDS) == EMPTY


def test_names_match_in_any_case_and_the_last_wins() -> None:
    assert members({"VALUE": "a", "Cas": 1, "vaLue": "b"}, KINDS) == EMPTY | {"value": "b", "cas": 1}


def test_null_items_are_empty_texts() -> None:
    assert members({"tags": ["a", None], "meta": {"k": None}}, KINDS)["tags"] == ["a", ""]


@pytest.mark.parametrize(
    "body",
    [
        [],
        "text",
        5,
        True,
        {"value": 5},
        {"value": ["a"]},
        {"cas": -1},
        {"cas": 2**64},
        {"cas": 1.0},
        {"cas": True},
        {"cas": "1"},
        {"tags": "a"},
        {"tags": [1]},
        {"tags": {}},
        {"meta": {"k": 1}},
        {"meta": []},
        {"on": 1},
    ],
)
def test_a_wrong_type_is_refused(body: Any) -> None:
    with pytest.raises(Invalid, match="Invalid JSON body"):
        members(body, KINDS)


def test_an_unsigned_integer_has_its_full_range() -> None:
    assert members({"cas": 2**64 - 1}, KINDS)["cas"] == 2**64 - 1


def test_empty_containers_are_not_shared() -> None:
    members({}, KINDS)["tags"].append("leak")
    assert members({}, KINDS)["tags"] == []


@pytest.mark.parametrize("body", [b"", b"{", b"{} x", b'{"a":"\xff"}', b"nan", b"{'a':1}", b"[" * 5000])
def test_text_that_is_not_one_json_value_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        decode_json(body, "application/json")


@pytest.mark.parametrize(
    ("content_type", "json"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/merge-patch+json", True),
        ("", False),
        ("text/json", False),
        ("application/x-www-form-urlencoded", False),
        ("application/jsonp", False),
    ],
)
def test_json_has_these_content_types(content_type: str, json: bool) -> None:
    assert is_json(content_type) is json
