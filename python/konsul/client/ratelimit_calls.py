"""The calls of the rate limit's routes. Documents come as the server words them. Kinds of clients are `ip`,
`apikey` and `user`; durations are Go text (`1h`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from konsul.client.model import Document
from konsul.client.request import JSON, Answer, Call, Params, Request, flag, option, segment
from konsul.errors import Invalid

T = TypeVar("T")
_BASE = "/admin/ratelimit"


def stats(details: bool = False) -> Call[Document]:
    """How many clients have a bucket on the answering node; with `details` also how it answered them."""
    return _read("stats", "data", flag("details", details))


def config() -> Call[Document]:
    """The configuration in force."""
    return _read("config", "config")


def clients(kind: str = "all") -> Call[tuple[Document, ...]]:
    """Who has a bucket on the answering node, by name."""
    return _list("clients", "clients", option("type", kind))


def client(identifier: str) -> Call[Document]:
    """One client of the answering node. The result raises NotFound for one without a bucket."""
    return _one("client", (identifier,), "client", "client/{identifier}")


def status(kind: str, identifier: str) -> Call[Document]:
    """All the answering node knows of one client. The result raises NotFound when that is nothing."""
    return _one("status", (kind, identifier), "status", "status/{type}/{id}")


def top(by: str = "violations", limit: int | None = None) -> Call[tuple[Document, ...]]:
    """The clients of the answering node with the most `violations` or `requests`."""
    return _list("top", "clients", (*option("by", by), *option("limit", limit)))


def events(after: int = 0, limit: int | None = None) -> Call[tuple[Document, ...]]:
    """The refusals of the answering node with a number above `after`, oldest first."""
    return _list("events", "events", (*option("after", after), *option("limit", limit)))


def reset(kind: str, identifier: str) -> Call[Document]:
    """Make the answering node forget one client's bucket: it starts full."""
    names = {"ip": "ip", "apikey": "key_id", "user": "user_id"}
    if kind not in names:
        raise Invalid("a client is an ip, an apikey or a user")
    path = f"{_BASE}/reset/{kind}/{segment(_named(identifier))}"
    route = f"POST {_BASE}/reset/{kind}/{{{names[kind]}}}"
    return Call(Request("POST", path, route, repeatable=True), Answer.json)


def reset_all(kind: str = "all") -> Call[Document]:
    """Make the answering node forget every bucket, or all of a kind."""
    path = f"{_BASE}/reset/all"
    return Call(Request("POST", path, f"POST {path}", option("type", kind), repeatable=True), Answer.json)


def update(requests_per_sec: float | None = None, burst: int | None = None) -> Call[Document]:
    """Change everybody's rate, burst or both, in the whole cluster."""
    return _write("PUT", "config", {"requests_per_sec": requests_per_sec, "burst": burst})


def restore_config() -> Call[Document]:
    """Forget what was changed of the configuration: every node goes by its own settings again."""
    return Call(Request("DELETE", f"{_BASE}/config", f"DELETE {_BASE}/config", repeatable=True), Answer.json)


def adjust(
    kind: str, identifier: str, rate: float, burst: int, duration: str | None = None
) -> Call[Document]:
    """Give one client a rate of its own for a time, an hour if not said, in the whole cluster."""
    body = {"rate": rate, "burst": burst, "duration": duration}
    path = f"client/{segment(kind)}/{segment(_named(identifier))}"
    return _write("PUT", path, body, "client/{type}/{id}")


def restore(kind: str, identifier: str) -> Call[Document]:
    """End a client's own rate before its time. The result raises NotFound if it has none."""
    path = f"{_BASE}/client/{segment(kind)}/{segment(_named(identifier))}"
    return Call(Request("DELETE", path, f"DELETE {_BASE}/client/{{type}}/{{id}}"), Answer.json)


def entries(name: str) -> Call[tuple[Document, ...]]:
    """Who is on the `whitelist` or the `blacklist`."""
    return _list(_list_name(name), "entries", ())


def add(
    name: str, kind: str, identifier: str, reason: str = "", duration: str | None = None
) -> Call[Document]:
    """Put an address, a network (`10.0.0.0/8`), a key or a user on a list; the blacklist needs a duration."""
    body = {"identifier": _named(identifier), "type": kind, "reason": reason, "duration": duration}
    call = _write("POST", _list_name(name), body)
    return Call(call.request, lambda answer: _member(answer, "entry"))


def remove(name: str, identifier: str) -> Call[Document]:
    """Take somebody off a list. The result raises NotFound for one who is not on it."""
    path = f"{_BASE}/{_list_name(name)}/{segment(_named(identifier))}"
    return Call(Request("DELETE", path, f"DELETE {_BASE}/{name}/{{id}}"), Answer.json)


def _read(name: str, member: str, params: Params = ()) -> Call[Document]:
    return _get(name, name, params, lambda answer: _member(answer, member))


def _list(name: str, member: str, params: Params) -> Call[tuple[Document, ...]]:
    return _get(name, name, params, lambda answer: tuple(_member(answer, member)))


def _one(name: str, parts: tuple[str, ...], member: str, template: str) -> Call[Document]:
    path = "/".join((name, *(segment(_named(part)) for part in parts)))
    return _get(path, template, (), lambda answer: _member(answer, member))


def _get(path: str, template: str, params: Params, read: Callable[[Answer], T]) -> Call[T]:
    route = f"GET {_BASE}/{template}"
    return Call(Request("GET", f"{_BASE}/{path}", route, params, repeatable=True), read)


def _write(method: str, path: str, body: Mapping[str, Any], template: str | None = None) -> Call[Document]:
    present = {member: value for member, value in body.items() if value is not None}
    route = f"{method} {_BASE}/{template or path}"
    headers = {"Content-Type": JSON}
    packed = json.dumps(present).encode()
    return Call(Request(method, f"{_BASE}/{path}", route, (), headers, packed, True), Answer.json)


def _member(answer: Answer, name: str) -> Any:
    return answer.json()[name]


def _named(text: str) -> str:
    if not text:
        raise Invalid("an identifier is required")
    return text


def _list_name(name: str) -> str:
    if name not in ("whitelist", "blacklist"):
        raise Invalid("a list is the whitelist or the blacklist")
    return name
