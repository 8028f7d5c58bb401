"""Steps that several tests of clusters take."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from tests.ask import Answer
from tests.cluster.harness.node import Node
from tests.waiting import until

_numbers = itertools.count()
WRITE_S = 60.0


def fresh_key(word: str = "key") -> str:
    """A key that no other test uses."""
    return f"{word}-{next(_numbers)}"


def put(node: Node, key: str, value: str, headers: Mapping[str, str] | None = None) -> int:
    """Writes and returns the index; anything but 200 fails the test."""
    answer = node.ask("PUT", f"/kv/{key}", {"value": value}, headers)
    assert answer.status == 200, (node.name, answer)
    return int(answer.json()["modify_index"])


def get(node: Node, key: str, consistency: str = "default") -> Answer:
    """One read."""
    return node.ask("GET", f"/kv/{key}?metadata=true&consistency={consistency}")


def value_of(node: Node, key: str, consistency: str = "default") -> str | None:
    """What a read answered with; anything but 200 and 404 fails the test."""
    answer = get(node, key, consistency)
    assert answer.status in (200, 404), (node.name, answer)
    return str(answer.json()["value"]) if answer.status == 200 else None


def until_written(node: Node, key: str, value: str, deadline_s: float = WRITE_S) -> Answer:
    """Tries until a write through `node` is acknowledged."""
    answers: list[Answer | None] = []

    def acknowledged() -> bool:
        answers.append(node.asked("PUT", f"/kv/{key}", {"value": value}))
        last = answers[-1]
        return last is not None and last.status == 200

    until(acknowledged, f"a write through {node.name}; the last answer: {answers[-1:]}", deadline_s)
    assert answers[-1] is not None
    return answers[-1]


def token(node: Node, **body: Any) -> str:
    """A new join token."""
    answer = node.ask("POST", "/cluster/join-token", body)
    assert answer.status == 200, answer
    return str(answer.json()["token"])


@dataclass
class Load:
    """Writers in the background; `acknowledged` holds the last acknowledged value of every key."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    open: dict[str, set[str]] = field(default_factory=dict)
    """Values whose answers were lost since the last acknowledged one."""
    count: int = 0
    wrong: list[str] = field(default_factory=list)

    def has_passed(self, count: int) -> bool:
        """True when more than `count` writes were acknowledged."""
        return self.count > count

    def lost(self, node: Node) -> list[str]:
        """Keys whose acknowledged value is gone."""
        gone = []
        for key, value in self.acknowledged.items():
            found = value_of(node, key, "linearizable")
            if found != value and found not in self.open.get(key, set()):
                gone.append(f"{key}: {found!r} is stored, {value!r} was acknowledged")
        return gone


@contextmanager
def writing(nodes: Sequence[Node], writers: int = 3, keys: int = 20) -> Iterator[Load]:
    """Writes to random nodes meanwhile, one key after the other; each writer has keys of its own."""
    load = Load()
    ended = threading.Event()
    prefix = fresh_key("load")

    def work(writer: int) -> None:
        for number in itertools.count():
            if ended.is_set():
                return
            key, value = f"{prefix}/{writer}/{number % keys}", f"{writer}.{number}"
            answer = None
            with suppress(OSError, HTTPException):
                answer = nodes[(number + writer) % len(nodes)].ask("PUT", f"/kv/{key}", {"value": value})
            if answer is not None and answer.status == 200:
                load.acknowledged[key] = value
                load.open.pop(key, None)
                load.count += 1
                continue
            load.open.setdefault(key, set()).add(value)
            if answer is not None and answer.status not in (503, 504):
                load.wrong.append(f"{key}: {answer}")
            ended.wait(0.02)

    threads = [threading.Thread(target=work, args=(writer,), daemon=True) for writer in range(writers)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        ended.set()
        for thread in threads:
            thread.join(WRITE_S)
