"""The audit calls: questions, pages and their order, against played answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from konsul.client import AuditPage, AuditQuery
from konsul.client.aio import AsyncClient
from konsul.client.sync import Client
from konsul.errors import Internal
from tests.client.played import Played, ok, run

BOTH = pytest.mark.parametrize("both", ["sync", "async"])


def page(*ids: str, after: str | None = None, more: bool = False, head: str | None = None) -> dict[str, Any]:
    return {
        "count": len(ids),
        "events": [{"event_id": each} for each in ids],
        "after": after,
        "more": more,
        "head": head,
    }


@BOTH
def test_a_question_names_only_what_was_given(both: str) -> None:
    played = Played(ok(page("e1", after="7.0", more=True, head="9.3")))
    query = AuditQuery(action="kv.*", since=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), oldest_first=True)
    found = run(played, lambda c: c.audit.page(query, limit=5, after="8.1"), both=both)
    assert found == AuditPage(({"event_id": "e1"},), "7.0", True, "9.3")
    asked = played.seen[0]
    assert (asked.method, asked.url.path) == ("GET", "/audit/events")
    assert dict(asked.url.params) == {
        "action": "kv.*",
        "from": "2026-01-02T03:04:05Z",
        "order": "oldest",
        "limit": "5",
        "after": "8.1",
    }


@BOTH
def test_nothing_given_asks_for_the_newest(both: str) -> None:
    played = Played(ok(page()))
    assert run(played, lambda c: c.audit.page(), both=both) == AuditPage((), None, False)
    assert not played.seen[0].url.params


@BOTH
def test_all_events_are_read_page_by_page_past_empty_ones(both: str) -> None:
    pages = (page("e1", "e2", after="5.0", more=True), page(after="3.0", more=True), page("e3", after="1.0"))
    played = Played(*(ok(each) for each in pages))

    def doing(client: Any) -> Any:
        if isinstance(client, Client):
            return list(client.audit.events(AuditQuery(actor="alice")))
        assert isinstance(client, AsyncClient)
        return _all(client)

    found = run(played, doing, both=both)
    assert [event["event_id"] for event in found] == ["e1", "e2", "e3"]
    assert [asked.url.params.get("after") for asked in played.seen] == [None, "5.0", "3.0"]
    assert {asked.url.params["actor"] for asked in played.seen} == {"alice"}


async def _all(client: AsyncClient) -> list[Any]:
    return [event async for event in client.audit.events(AuditQuery(actor="alice"))]


@BOTH
def test_stats_are_the_servers_document(both: str) -> None:
    played = Played(ok({"recorded": 3}))
    assert run(played, lambda c: c.audit.stats(), both=both) == {"recorded": 3}
    assert played.seen[0].url.path == "/audit/stats"


@BOTH
@pytest.mark.parametrize("answer", [{}, {"events": 1, "after": None, "more": False}, []])
def test_an_answer_that_is_no_page_is_said_to_be_none(both: str, answer: Any) -> None:
    with pytest.raises(Internal, match="no page of events"):
        run(Played(ok(answer)), lambda c: c.audit.page(), both=both)
