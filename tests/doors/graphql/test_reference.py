"""The examples of docs/reference/graphql.md, run in their order against a fresh node."""

from __future__ import annotations

import json
import re

import httpx

from konsul.doors.graphql.failures import CODES
from konsul.kernel.graphql_settings import GraphqlSettings
from tests.tidy.tree import ROOT

PAGE = (ROOT / "docs" / "reference" / "graphql.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"```graphql\n(.*?)```\n```json\n(.*?)```", re.DOTALL)


def test_every_example_is_answered_as_it_says(http: httpx.Client) -> None:
    examples = EXAMPLE.findall(PAGE)
    assert len(examples) == PAGE.count("```graphql")
    for query, answer in examples:
        assert http.post("/graphql", json={"query": query}).json() == json.loads(answer), query


def test_every_limit_it_names_is_a_setting() -> None:
    known = {declaration.env for declaration in GraphqlSettings.declarations.values()}
    named = set(re.findall(r"`(KONSUL_GRAPHQL_[A-Z_]+)`", PAGE))
    assert named
    assert named <= known


def test_every_code_a_field_can_answer_is_explained() -> None:
    assert [code for code in sorted(set(CODES.values())) if f"`{code}`" not in PAGE] == []
