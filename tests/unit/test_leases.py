"""What is left of a lease, asked on the leader and on other nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from konsul.engine import Caller
from konsul.errors import Invalid, KonsulError, Timeout
from konsul.features.catalog.leases import KIND, PER_QUESTION, Leases, left_ms
from konsul.kernel.cluster_settings import ClusterSettings
from konsul.kernel.config import load

KEYS = [b"%d" % number for number in range(1_201)]
MEMBER = Caller(2, "n2:7000")


@dataclass
class Node:
    """An engine that holds the leases `left`, or asks one that does."""

    left: dict[bytes, int] = field(default_factory=dict)
    asks: Node | None = None
    leader_id: int = 1
    fails: KonsulError | None = None
    handlers: Any = field(default_factory=dict)
    questions: list[int] = field(default_factory=list)

    def is_current(self) -> bool:
        return self.asks is None

    def lease_ms(self, table: int, key: bytes) -> int | None:
        assert table == 2
        return self.left.get(key)

    def status(self) -> dict[str, Any]:
        known = bool(self.leader_id)
        return {"cluster": {"raft_id": 2, "leader_raft_id": self.leader_id, "known_leader": known}}

    async def call(self, target: int, kind: str, body: dict[str, Any], timeout_ms: int) -> dict[str, Any]:
        assert (target, kind, timeout_ms) == (1, KIND, 1_000)
        assert self.asks is not None
        if self.fails and self.questions:
            raise self.fails
        self.questions.append(len(body["keys"]))
        return await answering(self.asks)._answer(MEMBER, body)


def answering(node: Node) -> Leases:
    kernel = SimpleNamespace(engine=node, config=load([ClusterSettings], environ={}))
    return Leases(cast(Any, kernel))


def left(node: Node, keys: Sequence[bytes]) -> list[int | None]:
    return asyncio.run(left_ms(cast(Any, SimpleNamespace(engine=node)), keys))


def test_the_leader_answers_itself() -> None:
    assert left(Node({b"a": 5}), [b"a", b"ended"]) == [5, 0]


def test_another_node_asks_the_leader_in_bounded_questions() -> None:
    leader = Node({key: number for number, key in enumerate(KEYS)})
    follower = Node(asks=leader)
    assert left(follower, KEYS) == list(range(len(KEYS)))
    assert follower.questions == [PER_QUESTION, PER_QUESTION, 201]


def test_what_cannot_be_known_is_unknown_and_no_failure() -> None:
    leader = Node(dict.fromkeys(KEYS, 7))
    assert left(Node(asks=leader, leader_id=0), [b"1"]) == [None]
    assert left(Node(asks=leader, leader_id=2), [b"1"]) == [None], "a leader without its lease asks nobody"
    slow = Node(asks=leader, fails=Timeout("late"))
    assert left(slow, KEYS) == [7] * PER_QUESTION + [None] * (len(KEYS) - PER_QUESTION)


@pytest.mark.parametrize("body", [{}, {"keys": "abc"}, {"keys": ["text"]}, {"keys": [b"k"] * 501}])
def test_an_odd_question_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        asyncio.run(answering(Node())._answer(MEMBER, body))
