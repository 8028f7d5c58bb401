"""Sessions, and the locks of keys: calls and what their answers say."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from konsul.client.kv_calls import Value
from konsul.client.model import Page
from konsul.client.request import BYTES, JSON, Answer, Call, Request, flag, key_path, option, segment


@dataclass(frozen=True, slots=True)
class Session:
    """A session. Durations are Go text (`30s`); `ttl` empty: it stays until it is destroyed."""

    id: str
    name: str = ""
    node: str = ""
    checks: tuple[str, ...] = ()
    behavior: str = "release"
    lock_delay: str = ""
    ttl: str = ""
    document: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Acquired:
    """What became of asking for a lock. `session`: who holds it. `lock_index`: the fencing token of who holds
    or last held it. `index`: that of the write; of a refusal what to wait for a change after.
    `retry_after_s`: what is left of a lost lock's delay, if that is why."""

    ok: bool
    session: str = ""
    lock_index: int = 0
    index: int = 0
    retry_after_s: float = 0.0


def create(
    name: str = "",
    node: str = "",
    checks: Iterable[str] = (),
    behavior: str = "",
    lock_delay: str | None = None,
    ttl: str = "",
) -> Call[Session]:
    """Create a session: Invalid if its node or a check is unknown, or a check is critical."""
    given = {
        "name": name,
        "node": node,
        "checks": list(checks),
        "behavior": behavior,
        "lock_delay": lock_delay,
        "ttl": ttl,
    }
    body = {key: value for key, value in given.items() if value not in ("", None, [])}
    headers = {"Content-Type": JSON}
    request = Request(
        "POST", "/sessions", "POST /sessions", (), headers, json.dumps(body).encode(), kind="write"
    )
    return Call(request, lambda answer: session_of(answer.json()))


def get(session_id: str) -> Call[Session]:
    """Read one session; NotFound when it has ended."""
    request = Request(
        "GET", f"/sessions/{segment(session_id)}", "GET /sessions/{id}", repeatable=True, kind="read"
    )
    return Call(request, lambda answer: session_of(answer.json()))


def list_page(node: str | None, limit: int, after: str | None) -> Call[Page[Session]]:
    """One page of the sessions the caller may list, of one node or all, by id."""
    params = (*option("node", node), *option("limit", limit), *option("after", after))
    request = Request("GET", "/sessions", "GET /sessions", params, repeatable=True, kind="read")
    return Call(request, _page)


def renew(session_id: str) -> Call[Session]:
    """Give a session its whole TTL again; NotFound when it has ended."""
    path = f"/sessions/{segment(session_id)}/renew"
    # No key: nothing is applied, and under one a late answer could not be told from a new one.
    request = Request("PUT", path, "PUT /sessions/{id}/renew", repeatable=True)
    return Call(request, lambda answer: session_of(answer.json()))


def destroy(session_id: str) -> Call[None]:
    """End a session; NotFound when it has ended already."""
    path = f"/sessions/{segment(session_id)}"
    request = Request("DELETE", path, "DELETE /sessions/{id}", repeatable=True, kind="write")
    return Call(request, lambda _: None)


def acquire(
    key: str, session_id: str, value: Value | None = None, cas: int | None = None, flags: int | None = None
) -> Call[Acquired]:
    """Lock a key for a session, and write `value` to it. Who holds it already only writes. May be repeated:
    whoever asks again holds it already."""
    request = _locking(key, "acquire", session_id, value, (("cas", cas), ("flags", flags)), cas is None)
    return Call(request, _acquired)


def release(key: str, session_id: str, value: Value | None = None) -> Call[bool]:
    """Give a lock back, and write `value`; False when the session did not hold it."""
    request = _locking(key, "release", session_id, value, (), True)
    return Call(request, lambda answer: bool(answer.json()["released"]))


def session_of(document: Mapping[str, Any]) -> Session:
    """A session from its JSON form."""
    return Session(
        str(document["id"]),
        str(document.get("name", "")),
        str(document.get("node", "")),
        tuple(document.get("checks", ())),
        str(document.get("behavior", "release")),
        str(document.get("lock_delay", "")),
        str(document.get("ttl", "")),
        document,
    )


def _locking(
    key: str,
    verb: str,
    session_id: str,
    value: Value | None,
    more: tuple[tuple[str, int | None], ...],
    repeatable: bool,
) -> Request:
    params = ((verb, session_id), *(pair for name, number in more for pair in option(name, number)))
    headers, body = {}, None
    if isinstance(value, bytes):
        params, headers, body = (*params, *flag("raw", True)), {"Content-Type": BYTES}, value
    elif value is not None:
        headers, body = {"Content-Type": JSON}, json.dumps({"value": value}, ensure_ascii=False).encode()
    return Request("PUT", key_path(key), "PUT /kv/{key}", params, headers, body, repeatable, "write")


def _acquired(answer: Answer) -> Acquired:
    document = answer.json()
    seen = answer.headers.get("x-konsul-index", "")
    return Acquired(
        bool(document["acquired"]),
        str(document.get("session", "")),
        int(document.get("lock_index", 0)),
        int(document.get("modify_index", 0)) or (int(seen) if seen.isdecimal() else 0),
        int(document.get("retry_after_ms", 0)) / 1_000,
    )


def _page(answer: Answer) -> Page[Session]:
    after = answer.headers.get("x-konsul-next-after")
    return Page(tuple(session_of(item) for item in answer.json()), None if after is None else unquote(after))
