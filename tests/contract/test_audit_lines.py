"""The compiled audit log writes what its plain twin writes, and nothing a client chooses forges a line."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from uuid import UUID

from hypothesis import example, given, settings
from hypothesis import strategies as st

from konsul.features.audit import events
from konsul.kernel.pipeline import ANONYMOUS, INSIDE, Identity
from konsul_ext.audit import AuditLog

ACTIONS = {
    "kv.get": ("kv.get", "kv", False),
    "kv.batch_set": ("batch.kv.set", "kv", True),
    "auth.login": ("auth.login", "auth", True),
}
MANY_BYTES = 100_000
TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=80)
NASTY = TEXT | st.sampled_from(
    ("\u2028", "\x9b31m", "a\r\nb", '","action":"forged', "\u202egnp", "\ud800", "\0", "é" * 600, "x" * 5_000)
)
RAW = st.binary(max_size=80) | NASTY.map(lambda text: text.encode("utf-8", "replace"))
IDENTITIES = st.one_of(
    st.none(),
    st.sampled_from((ANONYMOUS, INSIDE)),
    st.builds(
        Identity,
        kind=st.sampled_from(("user", "api_key")),
        id=NASTY,
        name=NASTY,
        roles=st.lists(NASTY, max_size=3).map(tuple),
        method=st.sampled_from(("", "jwt", "api_key")),
        token_id=NASTY,
    ),
)
CALLS = st.fixed_dictionaries(
    {
        "identity": IDENTITIES,
        "client": NASTY,
        "verb": st.sampled_from(("kv.get", "kv.batch_set", "auth.login", "auth.failed", "http.get")) | NASTY,
        "resources": st.none() | st.just([""]) | NASTY | RAW | st.lists(NASTY | RAW, max_size=5),
        "outcome": st.sampled_from(("", "success", "not_found", "cas_conflict", "denied", "error")),
        "reason": NASTY,
        "method": st.sampled_from(("GET", "HEAD", "PUT", "POST")) | NASTY,
        "path": RAW,
        "status": st.sampled_from((101, 200, 204, 307, 400, 401, 404, 429, 499, 500, 503)),
        "took_ns": st.integers(-5, 10**13),
        "request_id": NASTY | RAW,
        "body": st.none() | st.binary(max_size=50),
    }
)
EVENT_ID = b"6f1c0000-0000-4000-8000-000000000001"


def lines_of(node_id: str, at_ns: int, call: dict[str, Any]) -> tuple[bytes, bytes]:
    """What the compiled log and the plain one write."""
    compiled = AuditLog(ACTIONS, node_id).line(EVENT_ID, at_ns, **call)
    return compiled, events.line(ACTIONS, node_id, EVENT_ID, at_ns, **call)


@settings(max_examples=600)
@given(node_id=NASTY, at_ns=st.integers(0, 4 * 10**18), call=CALLS)
def test_the_compiled_line_is_the_plain_one_and_one_sound_object(
    node_id: str, at_ns: int, call: dict[str, Any]
) -> None:
    compiled, plain = lines_of(node_id, at_ns, call)
    assert compiled == plain
    assert compiled.endswith(b"}\n")
    text = compiled.decode()
    assert len(text.splitlines()) == 1
    assert not any(ord(each) < 0x20 or 0x7F <= ord(each) < 0xA0 for each in text[:-1])
    event = json.loads(text, object_pairs_hook=_once)
    assert event["http_status"] == call["status"]
    assert event["result"] == events.result_of(call["status"], call["outcome"])


@given(call=CALLS)
@example(call={"path": b"/kv/" + b"%0d%0a" * 9})
def test_text_within_the_limits_comes_back_as_it_was(call: dict[str, Any]) -> None:
    path = call["path"].decode("utf-8", "replace").encode()[:2_000].decode("utf-8", "ignore").encode()
    compiled = AuditLog(ACTIONS, "n").line(
        EVENT_ID, 0, None, "::1", "kv.get", method="GET", path=path, status=200, took_ns=0, request_id="r"
    )
    assert json.loads(compiled)["http_path"] == path.decode()


def test_many_ids_are_bounded_and_counted() -> None:
    call: dict[str, Any] = {
        "identity": None,
        "client": "",
        "verb": "kv.batch_set",
        "method": "POST",
        "path": b"/",
        "status": 200,
        "took_ns": 0,
        "request_id": "r",
    }
    few, plain = lines_of("n", 0, call | {"resources": [f"k{number}" for number in range(500)]})
    assert few == plain
    event = json.loads(few)
    assert len(event["resources"]) == 100
    assert event["resources_omitted"] == 400
    long, plain = lines_of("n", 0, call | {"resources": ["k" * 5_000] * 90})
    assert long == plain
    assert len(long) < 20_000
    assert json.loads(long)["resources_omitted"] == 74


def test_a_body_is_known_by_its_hash_and_what_holds_a_password_not_even_so() -> None:
    call: dict[str, Any] = {
        "identity": None,
        "client": "",
        "method": "POST",
        "path": b"/",
        "status": 200,
        "took_ns": 0,
        "request_id": "r",
        "body": b"hello",
    }
    hashes = {}
    for verb in ("kv.batch_set", "auth.login", "auth.failed", "http.post"):
        compiled, plain = lines_of("n", 0, call | {"verb": verb})
        assert compiled == plain
        hashes[verb] = json.loads(compiled).get("request_hash")
    assert hashes.pop("kv.batch_set") == hashlib.sha256(b"hello").hexdigest()
    assert set(hashes.values()) == {None}


def test_a_recorded_event_is_the_line_with_an_id_and_a_time_of_its_own() -> None:
    for log in (AuditLog(ACTIONS, "n"), events.PlainAuditLog(ACTIONS, "n")):
        for number in range(3):
            log.record(
                None,
                "::1",
                "kv.get",
                f"k{number}",
                method="GET",
                path=b"/kv/k",
                status=200,
                took_ns=7,
                request_id="r",
            )
        assert (log.recorded, log.dropped, log.waiting()) == (3, 0, 3)
        taken = log.take()
        assert taken is not None
        lines, count, first_ns, last_ns = taken
        found = [json.loads(each) for each in lines.splitlines()]
        assert [event["resource"]["id"] for event in found] == ["k0", "k1", "k2"]
        assert len({UUID(event["event_id"]) for event in found}) == count == 3
        assert first_ns <= last_ns
        assert all(UUID(event["event_id"]).version == 4 for event in found)
        assert log.take() is None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names)), f"a member twice: {names}"
    return dict(pairs)
