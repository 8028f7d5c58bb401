"""The audit trail: whatever a client sends, an event is one line, and says who it was."""

from __future__ import annotations

import json
import secrets
from typing import Any
from urllib.parse import quote

import pytest

from tests.security.guarded import Guarded, Login
from tests.waiting import until

EVENT = '{"event_id":"forged","action":"kv.get","result":"success","actor":{"id":"innocent"}}'
NASTY = [
    f"a\n{EVENT}",
    f"a\r\n{EVENT}\r\n",
    f"a\u2028{EVENT}",
    f"a\u2029{EVENT}",
    f"a\u0085{EVENT}",
    f'a","result":"success","x":"{EVENT}',
    "a\x1b[2J\x1b[1;1Hcleared",
    "a\x1b]0;title\x07",
    "a\x9b31m",
    "a\x7f\x08\x08",
    "a\u202egnp.exe",
    "a\\",
    'a"',
    "</script><script>alert(1)</script>",
    "${jndi:ldap://x/a}",
    "%s%s%n",
    "=cmd|' /C calc'!A0",
]


def lines_of(guarded: Guarded, mark: str) -> list[bytes]:
    """The lines of the trail with this mark in them, once there is one."""

    def found() -> list[bytes]:
        whole = guarded.audit_file.read_bytes().split(b"\n")[:-1]
        return [line for line in whole if mark.encode() in line]

    until(found, f"an audit event with {mark}")
    return found()


def sound(line: bytes) -> dict[str, object]:
    """The event of a line, which holds nothing that a terminal or a line reader takes for more than text."""
    event: dict[str, object] = json.loads(line)
    text = line.decode("utf-8")
    assert len(text.splitlines()) == 1, line
    assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in text), line
    assert event["event_id"] != "forged"
    return event


@pytest.mark.parametrize("text", NASTY, ids=lambda text: repr(text)[:24])
def test_what_is_in_a_key_stays_in_its_field(guarded: Guarded, attacker: Login, text: str) -> None:
    mark = secrets.token_hex(6)
    key = f"open/{mark}/{text}"
    guarded.ask("POST", "/batch/kv/set", {"items": {key: "v"}}, attacker.headers)
    guarded.get("/kv/" + quote(key, safe="/"), attacker.headers)
    for line in lines_of(guarded, mark):
        event = sound(line)
        assert event["actor"]["id"] == attacker.user_id  # type: ignore[index]
    guarded.by_admin("POST", "/batch/kv/delete", {"keys": [key]})


@pytest.mark.parametrize("text", NASTY, ids=lambda text: repr(text)[:24])
def test_names_of_nobody_are_written_as_text(guarded: Guarded, text: str) -> None:
    mark = secrets.token_hex(6)
    guarded.ask(
        "POST", "/auth/login", {"user_id": mark + text, "username": mark + text, "password": "p" * 20}
    )
    guarded.get(f"/{mark}/" + quote(text, safe=""))
    for line in lines_of(guarded, mark):
        sound(line)


def test_headers_do_not_forge_an_event(guarded: Guarded, attacker: Login) -> None:
    mark = secrets.token_hex(6)
    for text in ("\x1b[31m", '","x":"y', "\u2028"[:0] + "a" * 2_000, "\xff\xfe"):
        headers = attacker.headers | {"X-Request-ID": mark + text, "User-Agent": text, "X-User": "root"}
        try:
            guarded.get(f"/kv/open/{mark}", headers)
        except ValueError:
            continue  # the client library itself refuses it
    for line in lines_of(guarded, mark):
        event = sound(line)
        assert event["actor"]["id"] == attacker.user_id  # type: ignore[index]


def test_refusals_are_written_down_with_who_and_why(guarded: Guarded, attacker: Login) -> None:
    mark = secrets.token_hex(6)
    assert guarded.get(f"/kv/vault/{mark}", attacker.headers).status == 403
    assert guarded.get(f"/kv/vault/{mark}").status == 401

    def events() -> list[dict[str, object]]:
        return [json.loads(line) for line in lines_of(guarded, mark)]

    until(lambda: len(events()) >= 2, "both refusals")
    results = {(event["http_status"], event["result"]) for event in events()}
    assert results == {(403, "denied"), (401, "denied")}
    kinds = {event["actor"]["type"] for event in events()}  # type: ignore[index]
    assert kinds == {"user", "anonymous"}


def test_the_making_of_a_key_names_the_key(guarded: Guarded) -> None:
    """So that what a thief made can be found by who made it, and the other way round."""
    key = guarded.key("attacker")

    def made() -> list[dict[str, Any]]:
        return [one for one in guarded.audited() if one["action"] == "auth.apikey.create"]

    until(lambda: key.id in [one["resource"].get("id") for one in made()], "the key's event")
    assert all(one["actor"]["id"] == "bootstrap-token-file" for one in made())
    assert key.text not in guarded.audit_file.read_text("utf-8")


def test_no_secret_is_in_the_trail(guarded: Guarded, attacker: Login) -> None:
    mark = secrets.token_hex(6)
    password = f"secret-{mark}-password"
    guarded.ask("POST", "/auth/login", {"user_id": mark, "username": mark, "password": password})
    guarded.get(f"/kv/open/{mark}?token={attacker.token}&password={password}", attacker.headers)
    guarded.ask("PUT", f"/kv/open/{mark}", {"value": password}, attacker.headers)
    trail = b"".join(lines_of(guarded, mark))
    whole = guarded.audit_file.read_bytes()
    assert mark.encode() in trail
    for secret in (password, attacker.token, attacker.refresh_token, guarded.admin_key):
        assert secret.encode() not in whole
    assert guarded.audit_file.stat().st_mode & 0o077 == 0


def test_names_that_were_only_tried_are_in_no_metric(guarded: Guarded, attacker: Login) -> None:
    """Else who may do nothing names a thousand services, and those that are there are counted as others."""
    for number, headers in enumerate((attacker.headers, guarded.login().headers, {})):
        for path in (f"/heartbeat/tried-{number}", f"/heartbeat/tried-{number}?id=other"):
            assert guarded.ask("PUT", path, None, headers).status in (401, 403)
    guarded.by_admin("PUT", "/heartbeat/vault-svc")
    page = guarded.get("/metrics").body
    assert b'konsul_service_heartbeats_total{service="vault-svc",status="success"}' in page
    assert b"tried-" not in page
