"""The toy feature through real processes: what one folder and one word get without writing it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.conftest import SMALL, LiveServer

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = SMALL | {"PYTHONPATH": str(ROOT)}


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[LiveServer]:
    """A server with the toy's word."""
    with LiveServer(tmp_path / "data", SETTINGS, module="tests.toy.run") as server:
        yield server


@pytest.fixture
def http(toy: LiveServer) -> Iterator[httpx.Client]:
    """A client of the toy's server."""
    with httpx.Client(base_url=toy.base_url, trust_env=False, timeout=30) as client:
        yield client


def write(http: httpx.Client, slug: str, author: str = "ann", **more: Any) -> int:
    answer = http.put(f"/notes/{slug}", json={"author": author, "text": f"text of {slug}", **more})
    assert answer.status_code == 200, answer.text
    index: int = answer.json()["modify_index"]
    return index


def test_rows_are_durable_indexed_and_counted_with_everything_else(
    toy: LiveServer, http: httpx.Client
) -> None:
    assert write(http, "a") == 1
    assert http.put("/kv/k", json={"value": "v"}).json()["modify_index"] == 2
    assert write(http, "b", "bob") == 3
    assert http.post("/notes/a/likes").json()["modify_index"] == 4
    expected = {"slug": "a", "author": "ann", "text": "text of a", "likes": 1, "modify_index": 4}
    assert http.get("/notes/a").json() == expected
    toy.restart()
    assert http.get("/notes/a").json() == expected
    assert http.get("/notes?author=ann").json() == [expected]
    assert http.get("/notes?author=nobody").json() == []
    assert write(http, "c") == 5


def test_refusals_have_the_shapes_of_the_house(http: httpx.Client) -> None:
    index = write(http, "a", cas=0)
    write(http, "a", cas=index)
    for answer, status, error in (
        (http.put("/notes/a", json={"author": "ann", "cas": index}), 409, "CAS conflict"),
        (http.put("/notes/a", json={"author": ""}), 400, "Bad Request"),
        (http.put("/notes/a", json={"author": 5}), 400, "Bad Request"),
        (
            http.put("/notes/a", content=b"{", headers={"content-type": "application/json"}),
            400,
            "Bad Request",
        ),
        (http.get("/notes/none"), 404, "Not Found"),
    ):
        body = answer.json()
        assert (answer.status_code, body["error"]) == (status, error)
        assert UUID(body["request_id"])
    for _ in range(3):
        assert http.post("/notes/a/likes").status_code == 200
    assert http.post("/notes/a/likes").status_code == 409
    assert http.get("/notes/a").json()["likes"] == 3


def test_routes_follow_the_conventions_of_the_door(http: httpx.Client) -> None:
    write(http, "a")
    for path in ("/v1/notes/a", "/NOTES/a", "/notes/a///"):
        assert http.get(path).json()["slug"] == "a", path
    assert (http.head("/notes/a").status_code, http.head("/notes/a").content) == (200, b"")
    wrong = http.post("/notes/a")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD, PUT")
    assert http.get("/notes/a", headers={"X-Request-ID": "mine"}).headers["x-request-id"] == "mine"
    paths = http.get("/openapi.json").json()["paths"]
    assert paths["/notes/{slug}"].keys() == {"get", "put"}
    assert paths["/notes/{slug}/likes"]["post"]["tags"] == ["notes"]


def test_operations_and_rows_are_on_the_metrics_page(http: httpx.Client) -> None:
    write(http, "a")
    http.put("/notes/a", json={"author": "ann", "cas": 0})
    page = http.get("/metrics").text
    assert 'konsul_notes_operations_total{operation="write",status="success"} 1.0' in page
    assert 'konsul_notes_operations_total{operation="write",status="cas_conflict"} 1.0' in page
    assert "konsul_notes 1.0" in page
    assert 'path="/notes/{slug}",status="200"' in page


def test_its_setting_comes_from_the_environment_and_is_checked(tmp_path: Path) -> None:
    limited = SETTINGS | {"KONSUL_NOTES_MAX_LIKES": "1"}
    with (
        LiveServer(tmp_path / "one", limited, module="tests.toy.run") as server,
        httpx.Client(base_url=server.base_url, trust_env=False, timeout=30) as http,
    ):
        write(http, "a")
        assert [http.post("/notes/a/likes").status_code for _ in range(2)] == [200, 409]
    bad = LiveServer(tmp_path / "two", SETTINGS | {"KONSUL_NOTES_MAX_LIKES": "0"}, module="tests.toy.run")
    bad.launch()
    assert bad.exit_status() == 1
    assert "KONSUL_NOTES_MAX_LIKES is '0' (environment): expected 1 to 100" in bad.output()


def test_konsulctl_has_its_group(toy: LiveServer, http: httpx.Client) -> None:
    write(http, "a b")

    def ctl(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.toy.run", "ctl", *arguments, "--server", toy.base_url]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    shown = ctl("notes", "show", "a b")
    assert (shown.returncode, shown.stdout.strip()) == (0, "text of a b"), shown.stderr
    assert '"likes": 0' in ctl("notes", "show", "a b", "--output", "json").stdout
    assert ctl("notes", "show", "none").returncode == 3
    assert "notes" in ctl("--help").stdout


def test_its_verbs_pass_the_stations_of_the_pipeline(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.toy.stations", str(tmp_path / "data")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["statuses"] == [200, 403, 403, 200, 404]
    assert seen["authorised"] == [
        ["notes:write", "open"],
        ["notes:write", "secret"],
        ["notes:read", "secret"],
        ["notes:list", ""],
        ["notes:like", "none"],
    ]
    assert seen["audited"] == [
        ["notes.write", ["open"], "success"],
        ["notes.write", ["secret"], "denied"],
        ["notes.get", ["secret"], "denied"],
        ["notes.by_author", [], "success"],
        ["notes.like", ["none"], "not_found"],
    ]
