"""`konsulctl query` and `konsulctl service query` against a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.cli.console import Console


@pytest.fixture
def shop(http: httpx.Client) -> str:
    """A service of two instances; returns its name."""
    space = f"t-{uuid4().hex[:12]}"
    for number, zone in ((1, "a"), (2, "b")):
        body: dict[str, Any] = {
            "name": space,
            "id": f"i{number}",
            "address": "10.0.0.1",
            "port": number,
            "ttl": "0",
            "zone": f"{space}-{zone}",
            "tags": [f"v{number}"],
            "meta": {"env": "prod"},
        }
        assert http.put("/register", json=body).status_code == 200
    return space


def test_a_search(ctl: Console, shop: str) -> None:
    one, two = f"{shop} (i1) - 10.0.0.1:1\n", f"{shop} (i2) - 10.0.0.1:2\n"

    def said(*options: str) -> str:
        return ctl.ok("service", "query", "--name", shop, *options, "--quiet").text

    assert said() == one + two
    assert said("--filter", "Port != 1") == two
    assert said("--tag", "v1", "--meta", "env=prod") == one
    assert said("--zone", f"{shop}-b", "--health", "serving") == two
    assert said("--passing", "--sort", "port", "--desc") == two + one
    assert said("--sort", "port", "--desc", "--limit", "1") == two
    assert said("--node", "nobody") == ""
    cut = ctl("service", "query", "--name", shop, "--limit", "1")
    assert cut.code == 0
    assert cut.text == f"Services:\n  {one}"
    after = cut.errors.removeprefix("There are more: go on with --after ").strip()
    last = ctl.ok("service", "query", "--name", shop, "--after", after)
    assert (last.text, last.errors) == (f"Services:\n  {two}", "")
    document = ctl.ok("service", "query", "--filter", f"Service == `{shop}`", "--output", "json").json()
    assert [one["health"] for one in document] == ["passing", "passing"]
    table = ctl.ok("service", "query", "--name", shop, "--output", "table").text.splitlines()
    assert table[0].split()[-3:] == ["node", "zone", "health"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--filter", "Port = 1"), "line 1, column 6"),
        (("--sort", "color"), "expected one of name, id"),
        (("--passing", "--health", "any"), "--passing cannot be combined"),
    ],
)
def test_a_search_that_is_refused(ctl: Console, options: tuple[str, ...], words: str) -> None:
    said = ctl("service", "query", *options)
    assert said.code == 2
    assert words in said.errors


def test_a_query_from_options(ctl: Console, shop: str) -> None:
    made = ctl.ok(
        "query",
        "create",
        "--name",
        f"{shop}-q",
        "--service",
        shop,
        "--tag",
        "!v1",
        "--ttl",
        "5s",
        "--output",
        "json",
    ).json()
    document = ctl.ok("query", "get", f"{shop}-q", "--output", "json").json()
    assert (document["id"], document["dns"]) == (made["id"], {"ttl": "5s"})
    assert document["service"] == {"service": shop, "tags": ["!v1"]}
    assert f"  - {shop}-q -> {shop}\n" in ctl.ok("query", "list").text
    assert ctl.ok("query", "execute", f"{shop}-q").text == f"{shop} (i2) - 10.0.0.1:2\n"
    assert ctl.ok("query", "execute", f"{shop}-q", "--near", f"{shop}-a", "--limit", "1", "--passing").text
    ctl.ok("query", "update", f"{shop}-q", "--service", shop, "--tag", "v1")
    assert ctl.ok("query", "execute", f"{shop}-q").text == f"{shop} (i1) - 10.0.0.1:1\n"
    ctl.ok("query", "update", f"{shop}-q", "--name", f"{shop}-r", "--service", "nobody")
    assert ctl.ok("query", "execute", f"{shop}-r").text == "No instances found\n"
    assert ctl("query", "get", f"{shop}-q").code == 3
    assert ctl("query", "delete", f"{shop}-r", "--cas", "1", "--yes").code == 4
    assert "deleted" in ctl.ok("query", "delete", f"{shop}-r", "--yes").text
    assert ctl("query", "delete", f"{shop}-r", "--yes").code == 3


def test_a_template_from_a_file(ctl: Console, shop: str, tmp_path: Path) -> None:
    file = tmp_path / "query.json"
    template = {
        "name": f"{shop}-",
        "template": {"type": "name_prefix_match"},
        "service": {"service": shop, "tags": ["${name.suffix}"]},
    }
    file.write_text(json.dumps(template))
    ctl.ok("query", "create", str(file))
    assert ctl.ok("query", "execute", f"{shop}-v1").text == f"{shop} (i1) - 10.0.0.1:1\n"
    explained = ctl.ok("query", "explain", f"{shop}-v1", "--output", "json").json()
    assert explained["query"]["service"] == {"service": shop, "tags": ["v1"]}
    assert f"{shop}- (template) -> {shop}" in ctl.ok("query", "list").text
    ctl.ok("query", "delete", f"{shop}-", "--yes")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create",), "give either a FILE or options"),
        (("create", "-", "--name", "a"), "give either a FILE or options"),
        (("create", "-"), "is not valid JSON"),
        (("create", "--name", "a b", "--service", "x"), "name: expected 1 to 128 of"),
        (("execute", "no such name"), "query not found"),
    ],
)
def test_what_is_refused(ctl: Console, arguments: tuple[str, ...], words: str) -> None:
    said = ctl("query", *arguments)
    assert said.code in (2, 3)
    assert words in said.errors
