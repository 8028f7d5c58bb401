"""What the pages about filters and prepared queries show is true: examples, messages, selectors, orders."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from konsul.features.catalog import search_fields
from konsul.features.catalog.search import Source
from konsul.features.queries.documents import checked, prepared_of
from konsul.kernel.filters.selectors import Kind
from tests.conftest import SMALL, LiveServer
from tests.tidy.tree import ROOT

PAGE = (ROOT / "docs" / "reference" / "filters.md").read_text(encoding="utf-8")
QUERIES = (ROOT / "docs" / "reference" / "queries.md").read_text(encoding="utf-8")
JSON = re.compile(r"^```json\n(.*?)^```", re.DOTALL | re.MULTILINE)
KINDS = {
    Kind.TEXT: "text",
    Kind.NUMBER: "number",
    Kind.BOOLEAN: "true or false",
    Kind.TEXTS: "list",
    Kind.TEXT_MAP: "map",
}


def tables(heading: str) -> list[list[list[str]]]:
    """The rows of every table with this first line."""
    found: list[list[list[str]]] = []
    lines = PAGE.splitlines()
    for number, line in enumerate(lines):
        if line == heading:
            rows: list[list[str]] = []
            for row in lines[number + 2 :]:
                if not row.startswith("|"):
                    break
                rows.append([cell.strip() for cell in row.strip("|").split("|")])
            found.append(rows)
    return found


def code(cell: str) -> str:
    """What stands between a cell's backticks."""
    return cell.removeprefix("``").removesuffix("``").strip() if cell.startswith("``") else cell.strip("`")


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A node with the services of the page."""
    with (
        LiveServer(tmp_path_factory.mktemp("filters") / "data", SMALL) as server,
        httpx.Client(base_url=server.base_url, timeout=30) as client,
    ):
        services: list[dict[str, Any]] = json.loads(JSON.findall(PAGE)[0])
        for service in services:
            assert client.put("/register", json=service | {"ttl": "0"}).status_code == 200
        yield client


@pytest.mark.parametrize(("shown", "found"), [(row[0], row[1]) for row in tables("| filter | finds |")[0]])
def test_an_example_finds_what_it_says(http: httpx.Client, shown: str, found: str) -> None:
    answer = http.get("/services", params={"filter": code(shown)})
    assert answer.status_code == 200, answer.text
    assert [one.get("id", one["name"]) for one in answer.json()] == found.split(", ")


@pytest.mark.parametrize(
    ("shown", "message"), [(row[0], row[1]) for row in tables("| filter | message |")[0]]
)
def test_a_refusal_says_what_it_says(http: httpx.Client, shown: str, message: str) -> None:
    answer = http.get("/services", params={"filter": code(shown)})
    assert (answer.status_code, answer.json()["message"]) == (400, message)


@pytest.mark.parametrize("at", range(3))
def test_the_selectors_are_those_there_are(at: int) -> None:
    sources: tuple[Source[Any], ...] = (search_fields.INSTANCES, search_fields.NODES, search_fields.CHECKS)
    expected = [
        [
            f"`{one.names[0]}`",
            ", ".join(f"`{name}`" for name in one.names[1:]),
            KINDS[one.kind],
            "yes" if one.index is not None else "",
        ]
        for one in sources[at].selectors.all
    ]
    assert tables("| selector | also called | kind | index |")[at] == expected


def test_the_orders_are_those_there_are() -> None:
    sources: tuple[Source[Any], ...] = (search_fields.INSTANCES, search_fields.NODES, search_fields.CHECKS)
    shown = [row[1] for row in tables("| listing | `sort` |")[0]]
    assert shown == [", ".join(f"`{name}`" for name in source.orders) for source in sources]


def test_the_documents_of_queries_are_accepted() -> None:
    documents = [json.loads(text) for text in JSON.findall(QUERIES)]
    assert len(documents) == 2
    for document in documents:
        assert checked(document) == document
        assert prepared_of(document).sought.service
