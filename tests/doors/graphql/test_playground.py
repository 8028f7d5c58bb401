"""GraphiQL comes from the node and from nowhere else."""

from __future__ import annotations

import re

import httpx
import pytest

PAGE = "/graphql/playground"
FILES = ("page.js", "page.css", "react.js", "react-dom.js", "graphql-ws.js", "graphiql.js", "graphiql.css")
ALL_MAX_BYTES = 3 << 20


def test_the_page_names_files_of_the_node_only(http: httpx.Client) -> None:
    page = http.get(PAGE)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert sorted(name for name in named if name != "data:,") == sorted(
        f"playground/{name}" for name in FILES
    )


def test_its_policy_lets_no_other_origin_in(http: httpx.Client) -> None:
    policy = http.get(PAGE).headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"
    assert "http" not in policy


def test_every_file_is_there_with_and_without_compression(http: httpx.Client) -> None:
    total = 0
    for name in FILES:
        packed = http.get(f"{PAGE}/{name}")
        plain = http.get(f"{PAGE}/{name}", headers={"accept-encoding": "identity"})
        assert packed.status_code == plain.status_code == 200
        assert packed.content == plain.content
        assert packed.headers["content-type"].startswith(
            "text/css" if name.endswith("css") else "text/javascript"
        )
        total += len(plain.content)
    assert total < ALL_MAX_BYTES


@pytest.mark.parametrize(
    "path", ["/nothing.js", "/../door.py", "/%2e%2e/door.py", "/index.html", "/LICENCES.txt", "/page.js/x"]
)
def test_nothing_else_is_served(http: httpx.Client, path: str) -> None:
    assert http.get(PAGE + path).status_code == 404


def test_it_is_only_read(http: httpx.Client) -> None:
    assert http.head(PAGE).status_code == 200
    answer = http.post(PAGE)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
