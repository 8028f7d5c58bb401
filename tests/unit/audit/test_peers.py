"""Nodes that want into the cluster are recorded, whether they are let in or not."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from konsul.engine import Caller
from konsul.errors import Forbidden
from konsul.features.audit.events import PlainAuditLog
from konsul.features.cluster.recording import Answer, recorded
from konsul.kernel.pipeline import Pipeline

ACTIONS = {"cluster.join": ("cluster.join", "cluster", True)}
CALLER = Caller(0, "10.0.0.7:40000")
QUESTION = {"node": {"node_id": 'n9"\n'}, "token": "hush"}


async def let_in(_: Caller, body: dict[str, Any]) -> dict[str, Any]:
    return {"welcome": body["node"]["node_id"]}


async def refuse(_: Caller, body: dict[str, Any]) -> dict[str, Any]:
    raise Forbidden("the join token is not known")


def asked(answer: Answer, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to a question of `CALLER`."""

    async def ask() -> dict[str, Any]:
        return await answer(CALLER, body)

    return asyncio.run(ask())


def told(log: PlainAuditLog) -> list[dict[str, Any]]:
    taken = log.take()
    return [json.loads(line) for line in taken[0].splitlines()] if taken else []


def test_who_is_let_in() -> None:
    log = PlainAuditLog(ACTIONS, "n1")
    ask = recorded(Pipeline(audit=log), "cluster.join", let_in)
    assert asked(ask, QUESTION) == {"welcome": 'n9"\n'}
    (event,) = told(log)
    assert (event["action"], event["result"], event["http_method"]) == ("cluster.join", "success", "PEER")
    assert event["actor"] == {"id": 'n9"\n', "type": "service"}
    assert (event["resource"], event["source_ip"]) == ({"type": "cluster", "id": 'n9"\n'}, "10.0.0.7")


def test_who_is_refused_and_why_without_the_token() -> None:
    log = PlainAuditLog(ACTIONS, "n1")
    ask = recorded(Pipeline(audit=log), "cluster.join", refuse)
    with pytest.raises(Forbidden):
        asked(ask, QUESTION)
    (event,) = told(log)
    assert (event["result"], event["http_status"]) == ("denied", 403)
    assert "join token" in event["reason"]
    assert "hush" not in json.dumps(event)


@pytest.mark.parametrize("body", [{}, {"node": 7}, {"node": {"node_id": 7}}])
def test_a_question_that_makes_no_sense_is_recorded_as_well(body: dict[str, Any]) -> None:
    log = PlainAuditLog(ACTIONS, "n1")
    with pytest.raises(Forbidden):
        asked(recorded(Pipeline(audit=log), "cluster.join", refuse), body)
    assert [event["result"] for event in told(log)] == ["denied"]


def test_without_an_audit_nothing_is_in_between() -> None:
    assert asked(recorded(Pipeline(), "cluster.join", let_in), QUESTION)
