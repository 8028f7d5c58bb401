"""The calls of prepared queries and searches: paths, bodies and answers, against played answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from konsul.errors import Conflict, Invalid, NotFound
from tests.client.played import Doing, Played, ok, refusal, run

BOTH = pytest.mark.parametrize("both", ["sync", "async"])
DOCUMENT = {"name": "a b", "service": {"service": "web"}}
CALLS: list[tuple[Doing, str, str, Any, Any, Any]] = [
    (lambda c: c.queries.list(), "GET", "/query", None, [DOCUMENT], (DOCUMENT,)),
    (lambda c: c.queries.get("a b"), "GET", "/query/a%20b", None, DOCUMENT, DOCUMENT),
    (lambda c: c.queries.explain("x"), "GET", "/query/x/explain", None, {"id": "1"}, {"id": "1"}),
    (lambda c: c.queries.execute("x"), "GET", "/query/x/execute", None, {"count": 0}, {"count": 0}),
    (
        lambda c: c.queries.execute("x", near="n", limit=2, strategy="random", passing=True),
        "GET",
        "/query/x/execute?near=n&limit=2&strategy=random&passing=true",
        None,
        {},
        {},
    ),
    (lambda c: c.queries.create(DOCUMENT), "POST", "/query", DOCUMENT, {"id": "1"}, "1"),
    (lambda c: c.queries.update("x", DOCUMENT), "PUT", "/query/x", DOCUMENT, {"id": "1"}, "1"),
    (lambda c: c.queries.update("x", DOCUMENT, cas=7), "PUT", "/query/x?cas=7", DOCUMENT, {"id": "1"}, "1"),
    (lambda c: c.queries.delete("x"), "DELETE", "/query/x", None, {"id": "1"}, "1"),
    (lambda c: c.queries.delete("x", cas=7), "DELETE", "/query/x?cas=7", None, {"id": "1"}, "1"),
]


@BOTH
@pytest.mark.parametrize(("doing", "method", "path", "body", "answer", "found"), CALLS)
def test_a_call_asks_and_hands_out(
    both: str, doing: Doing, method: str, path: str, body: Any, answer: Any, found: Any
) -> None:
    played = Played(ok(answer))
    assert run(played, doing, both=both) == found
    seen = played.seen[0]
    assert (seen.method, seen.url.raw_path.decode()) == (method, path)
    assert (json.loads(seen.content) if seen.content else None) == body


def page(names: list[str], after: str | None) -> dict[str, Any]:
    return {"count": len(names), "query": {}, "services": [{"name": name} for name in names], "after": after}


@BOTH
def test_a_search_goes_on_page_by_page_until_the_end(both: str) -> None:
    played = Played(ok(page(["a"], "x")), ok(page([], "y")), ok(page(["b"], None)))
    found = run(
        played, lambda c: c.services.search(filter="Port == 1", tags=["t"], meta={"k": "v"}), both=both
    )
    assert ([one["name"] for one in found.services], found.after) == (["a", "b"], None)
    first = "/services/query?filter=Port+%3D%3D+1&tags=t&meta.k=v&sort=name&limit=1000"
    paths = [seen.url.raw_path.decode().replace("%20", "+") for seen in played.seen]
    assert paths == [first, f"{first}&after=x", f"{first}&after=y"]


@BOTH
def test_a_search_ends_at_its_limit_and_says_where_to_go_on(both: str) -> None:
    played = Played(ok(page(["a", "b"], "x")), ok(page(["c"], "y")))
    found = run(
        played, lambda c: c.services.search(sort="port", descending=True, limit=3, after="w"), both=both
    )
    assert (len(found.services), found.after) == (3, "y")
    assert [seen.url.params["limit"] for seen in played.seen] == ["3", "1"]
    assert [seen.url.params["after"] for seen in played.seen] == ["w", "x"]
    assert played.seen[0].url.params["order"] == "desc"
    # A search needs something to search for.
    assert played.seen[0].url.params["health"] == "any"


@BOTH
@pytest.mark.parametrize(
    ("status", "kind", "doing"),
    [
        (404, NotFound, lambda c: c.queries.get("x")),
        (409, Conflict, lambda c: c.queries.create(DOCUMENT)),
        (400, Invalid, lambda c: c.services.search(filter="(")),
    ],
)
def test_a_refusal_is_its_error(both: str, status: int, kind: type[Exception], doing: Doing) -> None:
    played = Played(refusal(status, "x", "no"))
    with pytest.raises(kind):
        run(played, doing, both=both)


@BOTH
@pytest.mark.parametrize(
    "doing",
    [
        lambda c: c.queries.get(""),
        lambda c: c.queries.delete(""),
        lambda c: c.services.search(limit=0),
    ],
)
def test_what_makes_no_sense_is_not_sent(both: str, doing: Doing) -> None:
    played = Played(ok({}))
    with pytest.raises(Invalid):
        run(played, doing, both=both)
    assert played.seen == []
