"""Requests made from the API's own description: none of them is a defect, with the guards off and on.

What the routes answer is for their own tests. Here only: never a 5xx, always one of our content types, and
what the description promises of an answer. Who brings no credential is in the matrix of permissions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import response_schema_conformance

from tests.conftest import LiveServer
from tests.security.guarded import Guarded

TYPES = (
    "application/json",
    "application/msgpack",
    "application/octet-stream",
    "text/event-stream",
    "text/plain",
    "text/vnd.graphviz",
)
EXAMPLES = settings(
    max_examples=8,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@schemathesis.serializer("application/msgpack")
def as_msgpack(_context: object, value: object) -> bytes:
    """What a client of the batch routes would send; numbers that msgpack does not have, as text."""
    packed: bytes = msgpack.packb(json.loads(json.dumps(value), parse_int=_u64))
    return packed


def _u64(digits: str) -> int | str:
    return int(digits) if -(2**63) <= int(digits) < 2**64 else digits


def stays(case: schemathesis.Case[Any]) -> bool:
    """True for a route that answers with an event stream, which has no end."""
    return "text/event-stream" in case.operation.definition.raw["responses"].get("200", {}).get("content", {})


def check_head(case: schemathesis.Case[Any], base_url: str) -> None:
    asked = case.as_transport_kwargs(base_url=base_url)
    with httpx.Client(trust_env=False, timeout=60) as client:
        given, headers = asked.get("params"), asked.get("headers")
        with client.stream(asked["method"], asked["url"], params=given, headers=headers) as answer:
            assert answer.status_code < 500 or answer.status_code == 503, case.as_curl_command()
            assert answer.headers["content-type"].startswith(TYPES), case.as_curl_command()


def check(case: schemathesis.Case[Any], base_url: str, headers: Mapping[str, str]) -> None:
    for name in ("Authorization", "X-API-Key"):
        # What is made up for it would be a second credential.
        case.headers.pop(name, None)
    case.headers.update(headers)
    if stays(case):
        check_head(case, base_url)
        return
    if case.query and "index" in case.query:
        case.query["wait"] = "1ms"  # a long-poll would wait for a change that does not come
    answer = case.call(base_url=base_url, timeout=60)
    # A single node says 503 to whatever is asked of a cluster.
    is_alone = answer.status_code == 503 and answer.json()["error"] == "clustering not enabled"
    assert answer.status_code < 500 or is_alone, case.as_curl_command()
    assert answer.status_code != 401 or not headers or "/auth/" in case.path, case.as_curl_command()
    if answer.content:
        assert answer.headers["content-type"][0].startswith(TYPES), case.as_curl_command()
    case.validate_response(answer, checks=[response_schema_conformance])


def ask_everything(base_url: str, headers: Mapping[str, str]) -> int:
    """Sends what can be made of the description; returns for how many operations and kinds that was."""
    document = httpx.get(f"{base_url}/openapi.json", trust_env=False, headers=dict(headers)).json()
    asked = 0
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        assert isinstance(found, Ok)
        for mode in GenerationMode:
            strategy = found.ok().as_strategy(generation_mode=mode)
            try:
                EXAMPLES(given(strategy)(lambda case: check(case, base_url, headers)))()
            except Unsatisfiable:
                # Where a route takes nothing, nothing can be wrong about it.
                assert mode is GenerationMode.NEGATIVE
            else:
                asked += 1
    return asked


@pytest.mark.timeout(400)  # making the requests is what takes long
def test_no_request_is_a_defect(server: LiveServer) -> None:
    assert ask_everything(server.base_url, {}) >= 40


@pytest.mark.timeout(400)
def test_no_request_of_an_admin_is_a_defect(tmp_path: Path) -> None:
    """Every guard is on, and nothing that is asked can shut out who asks."""
    settings = {
        "KONSUL_RATE_LIMIT_ENABLED": "true",
        "KONSUL_RATE_LIMIT_BY_APIKEY": "true",
        "KONSUL_RATE_LIMIT_BURST": "1000000",
        "KONSUL_AUDIT_STORE_ENABLED": "true",
    }
    with Guarded(tmp_path / "guarded", settings) as server:
        own = server.by_admin("GET", "/auth/verify")["user_id"]
        entry = {"identifier": own, "type": "apikey", "reason": "asks everything"}
        server.by_admin("POST", "/admin/ratelimit/whitelist", entry)
        assert ask_everything(server.base_url, server.admin) >= 80
        assert server.get("/kv", server.admin).status == 200
        assert server.get("/kv").status == 401
