"""What lists show to whom rules bind: what may be seen, whole pages of it, and nothing of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from tests.doors.guarded import Guarded, guarded
from tests.waiting import until

HIDDEN = 25_000
"""More keys side by side than one page looks at, twice."""
MATES = ("api", "api-2", "db", "web", "web-1")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(tmp_path_factory.mktemp("lists")) as found:
        for key in ("a", "app/1", "app/2", "app/s/x", "b/s/1", "b/s/2", "c/d/e", "lo/x", "z"):
            found.admin.put(f"/kv/{key}", json={"value": f"of {key}"}).raise_for_status()
        for name in MATES:
            service = {"name": name, "address": "10.0.0.1", "port": 80, "tags": ["t"], "meta": {"m": "1"}}
            found.admin.put("/register", json=service).raise_for_status()
        found.policy(
            "part",
            kv=[
                {"path": "app/**", "capabilities": ["read"]},
                {"path": "app/s/**", "capabilities": ["deny"]},
                {"path": "c/*/e", "capabilities": ["read"]},
                {"path": "lo/*", "capabilities": ["list"]},
                {"path": "z", "capabilities": ["read"]},
            ],
            service=[
                {"name": "api", "capabilities": ["read"]},
                {"name": "web", "capabilities": ["list"]},
                {"name": "web-1", "capabilities": ["read"]},
                {"name": "db", "capabilities": ["deny"]},
            ],
        )
        found.policy("none", kv=[{"path": "elsewhere", "capabilities": ["write"]}])
        found.policy("lister", kv=[{"path": "**", "capabilities": ["list"]}])
        yield found


@pytest.fixture(scope="module")
def reader(node: Guarded) -> Iterator[httpx.Client]:
    with node.user("reader", "part") as client:
        yield client


@pytest.fixture(scope="module")
def stranger(node: Guarded) -> Iterator[httpx.Client]:
    with node.user("stranger", "none") as client:
        yield client


def told(client: httpx.Client, path: str) -> Any:
    return client.get(path).raise_for_status().json()


def pages(client: httpx.Client, path: str, limit: int) -> list[list[Any]]:
    found: list[list[Any]] = []
    after = ""
    while True:
        answer = client.get(f"{path}&limit={limit}{after}").raise_for_status()
        found.append(answer.json())
        next_after = answer.headers.get("x-konsul-next-after")
        if next_after is None:
            return found
        shown = [item if isinstance(item, str) else item["key"] for item in answer.json()]
        assert unquote(next_after) == shown[-1], "what a page ends with is what its reader was shown last"
        after = f"&after={next_after}"


def asked(client: httpx.Client, query: str) -> Any:
    answer = client.post("/graphql", json={"query": query}).json()
    assert "errors" not in answer, answer
    return answer["data"]


SEEN = ["app/1", "app/2", "c/d/e", "lo/x", "z"]


def test_keys_are_listed_as_far_as_they_may_be_listed_or_read(reader: httpx.Client) -> None:
    assert told(reader, "/kv") == SEEN
    assert told(reader, "/kv/app/?keys") == ["app/1", "app/2"]
    assert told(reader, "/kv?separator=/") == ["app/", "c/", "lo/", "z"], "of b/ nothing may be seen"
    assert told(reader, "/kv?prefix=app/&separator=/") == ["app/1", "app/2"]


def test_values_are_shown_as_far_as_they_may_be_read(reader: httpx.Client) -> None:
    rows = told(reader, "/kv?recurse=true")
    assert [row["key"] for row in rows] == ["app/1", "app/2", "c/d/e", "z"]
    assert "of lo/x" not in str(rows)


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 10])
@pytest.mark.parametrize("form", ["?prefix=", "?separator=/", "?recurse=true"])
def test_pages_are_full_and_none_is_empty(reader: httpx.Client, form: str, limit: int) -> None:
    whole = told(reader, f"/kv{form}")
    found = pages(reader, f"/kv{form}", limit)
    assert [item for page in found for item in page] == whole
    assert all(len(page) == limit for page in found[:-1])
    assert found[-1], "a page that had nothing would tell that something else is there"


def test_a_page_is_full_however_much_lies_between_that_is_not_seen(node: Guarded) -> None:
    for start in range(0, HIDDEN, 1_000):
        items = {f"far/h/{at:05}": "" for at in range(start, start + 1_000)}
        node.admin.post("/batch/kv/set", json={"items": items}).raise_for_status()
    for key in ("far/first", "far/h/24999/x", "far/last"):
        node.admin.put(f"/kv/{key}", json={"value": "v"}).raise_for_status()
    seen = ["far/first", "far/h/24999/x", "far/last"]
    node.policy("far", kv=[{"path": f"far/{name}", "capabilities": ["read"]} for name in ("first", "last")])
    node.policy("deep", kv=[{"path": "far/h/*/x", "capabilities": ["read"]}])
    with node.user("far", "far", "deep") as client:
        assert told(client, "/kv?prefix=far/") == seen
        assert pages(client, "/kv?prefix=far/", 1) == [[key] for key in seen]
        assert pages(client, "/kv?prefix=far/&separator=/", 2) == [["far/first", "far/h/"], ["far/last"]]
        found = pages(client, "/kv?prefix=far/&recurse=true", 2)
        assert [[row["key"] for row in page] for page in found] == [seen[:2], seen[2:]]
        page = asked(
            client, '{ kvList(prefix: "far/", limit: 1, offset: 1) { items { key } hasMore total } }'
        )
        assert page["kvList"] == {"items": [{"key": seen[1]}], "hasMore": True, "total": 3}
        page = asked(client, '{ kvList(prefix: "far/", limit: 2, offset: 1) { items { key } hasMore } }')
        assert page["kvList"]["hasMore"] is False


def test_nothing_to_see_is_an_empty_list_and_nothing_that_could_be_is_refused(
    node: Guarded, reader: httpx.Client, stranger: httpx.Client
) -> None:
    assert told(reader, "/kv?prefix=app/3") == []
    for path in ("/kv", "/kv?recurse=true", "/kv/app/?keys", "/services", "/services/query/tags?tags=t"):
        assert stranger.get(path).status_code == 403, path
    for path in ("/kv?prefix=b/", "/kv/app/s/?keys", "/kv/lo/?recurse=true"):
        refused = reader.get(path)
        assert refused.status_code == 403, path
        assert refused.json()["error"] == "forbidden"
    with node.user("lister", "lister") as lister:
        assert len(told(lister, "/kv?prefix=b/")) == 2
        assert lister.get("/kv?recurse=true").status_code == 403
        assert lister.get("/kv/a").status_code == 403


def names(listed: list[dict[str, Any]]) -> list[str]:
    return [one["name"] for one in listed]


def test_services_are_listed_and_found_as_far_as_they_may_be(reader: httpx.Client) -> None:
    seen = ["api", "web", "web-1"]
    assert names(told(reader, "/services")) == seen
    for query in ("tags?tags=t", "metadata?m=1"):
        found = told(reader, f"/services/query/{query}")
        assert (names(found["services"]), found["count"]) == (seen, 3)
    found = told(reader, "/services/query?tags=t&meta.m=1")
    assert names(found["services"]) == seen


def test_graphql_lists_are_the_same(reader: httpx.Client) -> None:
    data = asked(
        reader,
        """{ services { name } some: services(limit: 1, offset: 1) { name } servicesCount
             servicesByTags(tags: ["t"]) { name }
             kvList(limit: 2, offset: 2) { items { key } hasMore } kvTree(prefix: "app/") { key } }""",
    )
    seen = ["api", "web", "web-1"]
    assert names(data["services"]) == seen == names(data["servicesByTags"])
    assert names(data["some"]) == ["web"]
    assert data["servicesCount"] == 3
    assert data["kvList"] == {"items": [{"key": "c/d/e"}, {"key": "z"}], "hasMore": False}
    assert data["kvTree"] == [{"key": "app/1"}, {"key": "app/2"}]


def test_only_what_may_be_read_is_chosen(reader: httpx.Client, stranger: httpx.Client) -> None:
    chosen = {told(reader, path)["service"]["name"] for path in ["/lb/tags?tags=t", "/lb/service/t"] * 6}
    assert chosen == {"api", "web-1"}
    assert told(reader, "/lb/service/web-1")["service"]["name"] == "web-1"
    for name in ("web", "api-2", "db", "nothing"):
        assert reader.get(f"/lb/service/{name}").status_code == 404, name
    assert stranger.get("/lb/tags?tags=t").status_code == 403


def waits(node: Guarded, count: int) -> None:
    line = f'konsul_watchers_active{{transport="poll"}} {count}'
    until(lambda: line in node.admin.get("/metrics").text, "the poll waits")


def test_a_long_poll_of_keys_does_not_wake_for_what_is_not_seen(node: Guarded, reader: httpx.Client) -> None:
    index = reader.get("/kv?prefix=app/").headers["x-konsul-index"]
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(reader.get, f"/kv?prefix=app/&index={index}&wait=60s", timeout=70)
        waits(node, 1)
        node.admin.put("/kv/app/s/x", json={"value": "2"}).raise_for_status()
        hidden_at = int(node.admin.get("/kv/app/s/x?metadata=true").json()["modify_index"])
        node.admin.put("/kv/app/1", json={"value": "2"}).raise_for_status()
        assert int(poll.result().headers["x-konsul-index"]) > hidden_at


def test_a_long_poll_of_services_does_not_wake_for_one_that_only_begins_alike(
    node: Guarded, reader: httpx.Client
) -> None:
    index = reader.get("/services").headers["x-konsul-index"]
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(reader.get, f"/services?index={index}&wait=60s", timeout=70)
        waits(node, 1)
        # A rule of `web` lets something be seen that begins with `we`; that is not `we`.
        for name in ("we", "db", "web"):
            service = {"name": name, "address": "10.0.0.2", "port": 81}
            node.admin.put("/register", json=service).raise_for_status()
        woken = poll.result()
        hidden_at = int(node.admin.get("/services/db?metadata=true").json()["modify_index"])
        assert int(woken.headers["x-konsul-index"]) > hidden_at
        assert "10.0.0.2" in woken.text


def test_a_change_of_the_policy_shows_in_the_next_list(node: Guarded) -> None:
    node.policy("moving", kv=[{"path": "app/1", "capabilities": ["list"]}])
    with node.user("mover", "moving") as client:
        assert told(client, "/kv") == ["app/1"]
        node.policy("moving", kv=[{"path": "z", "capabilities": ["list"]}])
        assert told(client, "/kv") == ["z"]
        node.policy(
            "moving", kv=[{"path": "**", "capabilities": ["list"]}, {"path": "z", "capabilities": ["deny"]}]
        )
        assert "z" not in told(client, "/kv")
        assert "b/s/1" in told(client, "/kv")
