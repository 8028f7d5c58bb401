"""How a check looks in answers, and what a node without checks does not load."""

from __future__ import annotations

import subprocess
import sys

import orjson

from konsul.features.catalog.status import OUTPUT_MAX_BYTES
from konsul.features.catalog.tables import Check
from konsul.features.checks import documents
from konsul.features.checks.outcome import bounded, outcome, timeless, took

HOUR_MS = 3_600_000
LAZY = ("h11", "h2", "re2", "aiohttp", "grpclib")


def row(type: str, **defined: object) -> Check:
    return Check(
        id="c",
        service="web",
        instance="web web-1",
        name="alive",
        type=type,
        definition=orjson.dumps(defined),
        status="passing",
        output="fine",
        changed_at_ms=1_000,
    )


def test_durations_are_nanoseconds_and_defaults_are_shown() -> None:
    found = documents.check(row("http", http="http://a/", timeout="1500ms"), 5_000, None, 9_000)
    assert found == {
        "id": "c",
        "name": "alive",
        "service": "web",
        "service_id": "web-1",
        "type": "http",
        "status": "passing",
        "output": "fine",
        "last_check": "1970-01-01T00:00:05.000Z",
        "changed_at": "1970-01-01T00:00:01.000Z",
        "interval": 30_000_000_000,
        "timeout": 1_500_000_000,
        "http": "http://a/",
        "expires_at": documents.ZERO_TIME,
    }


def test_of_a_ttl_check_the_lease_tells_when_it_was_told_last() -> None:
    found = documents.check(row("ttl", ttl="1h"), None, HOUR_MS - 2_000, HOUR_MS)
    assert found["last_check"] == "1970-01-01T00:59:58.000Z"
    assert found["expires_at"] == "1970-01-01T01:59:58.000Z"
    assert (found["interval"], found["timeout"], found["ttl"]) == (30 * 10**9, 10 * 10**9, 3_600 * 10**9)


def test_what_nobody_knows_is_when_the_status_changed() -> None:
    assert documents.check(row("tcp", tcp="a:1"), None, None, 9_000)["last_check"].endswith("00:01.000Z")


def test_outputs_are_bounded_and_harmless() -> None:
    assert len(bounded("\u00e9" * 10_000).encode()) <= OUTPUT_MAX_BYTES
    assert bounded("a\x1b[2Jb\x00\nc") == "a?[2Jb?\nc"
    assert outcome("passing", "fine", "(1s)").output == "fine (1s)"


def test_times_in_an_output_do_not_make_it_new() -> None:
    assert timeless("HTTP 200 200 OK (0.001s)") == timeless("HTTP 200 200 OK (12.345s)") == "HTTP 200 200 OK"
    first, second = (f"TCP connection failed after {took(s)}: refused" for s in (0.000_057, 1.5))
    assert first != second
    assert timeless(first) == timeless(second)


def test_a_node_without_checks_loads_no_library_for_them() -> None:
    asked = (
        "import sys; from konsul.features import FEATURES; from konsul.kernel.feature import load_all; "
        f"load_all(FEATURES); print([name for name in sys.modules if name.partition('.')[0] in {LAZY}])"
    )
    found = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
