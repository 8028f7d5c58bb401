"""Values as large as the configuration allows, and what a restart keeps."""

from __future__ import annotations

import os
from pathlib import Path

import httpx

from tests.conftest import SMALL, LiveServer

MIB = 1 << 20


def client(server: LiveServer) -> httpx.Client:
    return httpx.Client(base_url=server.base_url, trust_env=False, timeout=60)


def test_sixteen_mebibytes_fit_where_they_are_allowed(tmp_path: Path) -> None:
    """The body limit follows the value limit: the same value fits as JSON and as base64."""
    settings = SMALL | {"KONSUL_KV_MAX_VALUE_BYTES": "16MiB", "KONSUL_RAFT_SEGMENT_BYTES": "64MiB"}
    value = os.urandom(16 * MIB)
    with LiveServer(tmp_path / "data", settings) as server:
        with client(server) as http:
            assert http.put("/kv/raw?raw", content=value).status_code == 200
            assert http.put("/kv/text", json={"value": "x" * len(value)}).status_code == 200
            answer = http.put("/kv/raw?raw", content=value + b"!")
            assert (answer.status_code, answer.json()["error"]) == (413, "Request Entity Too Large")
            assert answer.json()["message"].endswith(f"{16 * MIB + 1} bytes (max {16 * MIB})")
            over = http.put("/kv/raw?raw", content=value + value + b"!")
            assert (over.status_code, over.text) == (413, "Request Entity Too Large")
            rows = http.get("/kv/?recurse=true").json()
            assert [len(row["value"]) for row in rows] == [len(value) // 3 * 4 + 4, len(value)]
            got = http.post("/batch/kv/get", json={"keys": ["text"]}).json()["found"]
            assert len(got["text"]) == len(value)
        server.restart()
        with client(server) as http:
            assert http.get("/kv/raw?raw").content == value


def test_a_restart_keeps_everything_of_a_key(tmp_path: Path) -> None:
    with LiveServer(tmp_path / "data", SMALL) as server:
        with client(server) as http:
            http.put("/kv/flags", json={"value": "1", "flags": 2**64 - 1})
            http.put("/kv/flags", json={"value": "2"})
            http.put("/kv/ttl", json={"value": "3", "ttl": "1h"})
            http.put("/kv/bytes?raw", content=b"\x00\xff")
            http.put("/kv/gone", json={"value": "4"})
            http.delete("/kv/gone")
            before = http.get("/kv/?recurse=true")
        server.restart()
        with client(server) as http:
            after = http.get("/kv/?recurse=true")
            assert after.json() == before.json()
            assert after.headers["x-konsul-index"] == before.headers["x-konsul-index"] == "6"
            assert http.put("/kv/next", json={"value": "5"}).json()["modify_index"] == 7
