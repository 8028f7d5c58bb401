"""Settings of the rate limits, and what a restart keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import SMALL, LiveServer
from tests.doors.rate_limited import ADMIN, BURST, address, admin, caller, left, limited, members, spend


def test_a_restart_keeps_what_was_changed(tmp_path: Path) -> None:
    own, foe, friend = address(), address(), address()
    with limited(tmp_path / "data") as server:
        with admin(server) as root:
            assert root.put(f"{ADMIN}/config", json={"burst": 4}).status_code == 200
            body = {"rate": 0.001, "burst": 2, "duration": "1h"}
            assert root.put(f"{ADMIN}/client/ip/{own}", json=body).status_code == 200
            for name, client in (("blacklist", foe), ("whitelist", friend)):
                entry = {"identifier": client, "type": "ip", "duration": "1h"}
                assert root.post(f"{ADMIN}/{name}", json=entry).status_code == 200
        server.restart()
        for client, statuses in (
            (address(), [404] * 4 + [429]),
            (own, [404] * 2 + [429] * 3),
            (foe, [403] * 5),
            (friend, [404] * 5),
        ):
            with caller(server, client) as http:
                assert spend(http, 5) == statuses
        with admin(server) as root:
            assert members(root.get(f"{ADMIN}/config"), "config")["burst"] == 4


def test_classes_have_prices_and_buckets_of_their_own(tmp_path: Path) -> None:
    prices = {
        "KONSUL_RATE_LIMIT_COSTS": "write=3,list=0",
        "KONSUL_RATE_LIMIT_CLASS_RATES": "batch=0.001/2",
        "KONSUL_RATE_LIMIT_ITEMS_PER_TOKEN": "0",
    }
    with limited(tmp_path / "data", **prices) as server, caller(server) as http:
        assert left(http.put("/kv/a", json={"value": "1"})) == BURST - 3
        assert left(http.get("/kv/")) == BURST - 3
        answer = http.post("/batch/kv/get", json={"keys": ["a"] * 200})
        assert (answer.headers["x-ratelimit-limit"], left(answer)) == ("2", 1)
        assert answer.headers["ratelimit"].startswith('"batch";r=1;')
        http.post("/batch/kv/get", json={"keys": ["a"]})
        assert http.post("/batch/kv/get", json={"keys": ["a"]}).status_code == 429
        assert spend(http, BURST - 3) == [404] * (BURST - 3)
        assert spend(http, 1) == [429]


def test_headers_and_administration_can_be_off(tmp_path: Path) -> None:
    off = {
        "KONSUL_RATE_LIMIT_HEADERS_ENABLED": "false",
        "KONSUL_RATE_LIMIT_MANAGEMENT_ENABLED": "false",
        "KONSUL_RATE_LIMIT_ENABLED": "true",
        "KONSUL_RATE_LIMIT_REQUESTS_PER_SEC": "0.001",
        "KONSUL_RATE_LIMIT_BURST": "3",
    }
    with LiveServer(tmp_path / "data", SMALL | off) as server, admin(server) as http:
        assert http.get(f"{ADMIN}/config").status_code == 404
        assert "x-ratelimit-limit" not in http.get("/kv/nothing").headers
        http.get("/kv/nothing")
        answer = http.get("/kv/nothing")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, str(answer.json()["retry_after"]))
        assert "x-ratelimit-limit" not in answer.headers


def test_addresses_past_the_most_clients_share_one_bucket(tmp_path: Path) -> None:
    with limited(tmp_path / "data", KONSUL_RATE_LIMIT_MAX_CLIENTS="2") as server:
        statuses = []
        for _ in range(BURST + 3):
            with caller(server) as http:
                statuses += spend(http, 1)
        # One has the second place, the first is the administrator's; the others together have one burst.
        assert statuses == [404] * (BURST + 1) + [429] * 2


def test_entries_past_the_most_are_refused(tmp_path: Path) -> None:
    with limited(tmp_path / "data", KONSUL_RATE_LIMIT_MAX_ENTRIES="2") as server, admin(server) as root:
        for status in (200, 409):
            body = {"identifier": address(), "type": "ip", "duration": "1h"}
            assert root.post(f"{ADMIN}/blacklist", json=body).status_code == status
        # One that is there may still be changed.
        assert root.post(f"{ADMIN}/whitelist", json=body | {"identifier": "127.0.0.1"}).status_code == 200


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"KONSUL_RATE_LIMIT_BY_IP": "false"}, "nobody would be limited"),
        ({"KONSUL_RATE_LIMIT_REQUESTS_PER_SEC": "0"}, "KONSUL_RATE_LIMIT_REQUESTS_PER_SEC"),
        ({"KONSUL_RATE_LIMIT_BURST": "0"}, "KONSUL_RATE_LIMIT_BURST"),
        ({"KONSUL_RATE_LIMIT_COSTS": "reads=1"}, "KONSUL_RATE_LIMIT_COSTS"),
        ({"KONSUL_RATE_LIMIT_CLASS_RATES": "login=0/5"}, "KONSUL_RATE_LIMIT_CLASS_RATES"),
        ({"KONSUL_RATE_LIMIT_CLASS_RATES": "login=1/5,login=2/5"}, "KONSUL_RATE_LIMIT_CLASS_RATES"),
        ({"KONSUL_RATE_LIMIT_ADMIN_PATH": "/x"}, "/admin/ratelimit"),
    ],
)
def test_settings_that_limit_nothing_stop_the_start(
    tmp_path: Path, settings: dict[str, str], words: str
) -> None:
    server = LiveServer(tmp_path / "data", SMALL | {"KONSUL_RATE_LIMIT_ENABLED": "true"} | settings)
    assert server.refused() == 1
    assert words in server.output()
