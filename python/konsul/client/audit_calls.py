"""The calls of the audit routes. They tell of the node that answers: a client that pages has one address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from konsul.client.model import Document
from konsul.client.request import Answer, Call, Params, Request, option
from konsul.errors import Internal


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """What is looked for; None asks for nothing in particular. A last `*` in `action` and `resource` stands
    for any ending; `since` is the earliest time of an event, `until` the one it is before."""

    actor: str | None = None
    actor_type: str | None = None
    action: str | None = None
    resource: str | None = None
    result: str | None = None
    source_ip: str | None = None
    request_id: str | None = None
    since: datetime | str | None = None
    until: datetime | str | None = None
    oldest_first: bool = False


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Events in order. While `more`, asking again with `after` may find more, even after an empty page.
    `head`: where a query with `oldest_first` goes on with what is recorded later."""

    events: tuple[Document, ...]
    after: str | None
    more: bool
    head: str | None = None


EVERYTHING = AuditQuery()


def events(
    query: AuditQuery = EVERYTHING, limit: int | None = None, after: str | None = None
) -> Call[AuditPage]:
    """One page of events, the newest first unless the query says otherwise. `limit`: 1 to 1,000."""
    params: Params = (
        *option("actor", query.actor),
        *option("actor_type", query.actor_type),
        *option("action", query.action),
        *option("resource", query.resource),
        *option("result", query.result),
        *option("source_ip", query.source_ip),
        *option("request_id", query.request_id),
        *option("from", _moment(query.since)),
        *option("to", _moment(query.until)),
        *option("order", "oldest" if query.oldest_first else None),
        *option("limit", limit),
        *option("after", after),
    )
    request = Request("GET", "/audit/events", "GET /audit/events", params, repeatable=True)
    return Call(request, lambda answer: _page(answer.json()))


def stats() -> Call[Document]:
    """What the node recorded, wrote and lost, and what it keeps."""
    return Call(Request("GET", "/audit/stats", "GET /audit/stats", repeatable=True), Answer.json)


def _moment(at: datetime | str | None) -> str | None:
    if not isinstance(at, datetime):
        return at
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _page(document: Mapping[str, Any]) -> AuditPage:
    try:
        found = tuple(document["events"])
        return AuditPage(found, document["after"], bool(document["more"]), document.get("head"))
    except (KeyError, TypeError) as cause:
        raise Internal(f"the server's answer is no page of events: {cause}") from cause
