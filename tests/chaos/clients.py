"""Clients of a cluster: each asks random nodes for random things and records what it was told."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.chaos.history import History, Kind, Operation, now_us
from tests.chaos.wire import Lost, NotSent, Wire
from tests.waiting import pace

ANSWER_S: Final = 4.0
KEYS_ALIVE: Final = 24
USES_MAX: Final = 120
"""A key is given up after so many operations, or so many open ones: the judge's work grows with both."""
OPEN_MAX: Final = 2
TRIES_MAX: Final = 5
PAUSE_AFTER_LOSS_S: Final = 0.05
CURRENT: Final = re.compile(r"current is (\d+)")


@dataclass
class Key:
    """A key as far as any client knows."""

    name: str
    uses: int = 0
    open: int = 0
    index: int = 0


class Keyring:
    """The keys in use. Old ones are retired and read once more at the end."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._alive: list[Key] = []
        self.names: list[str] = []

    def pick(self, rng: random.Random) -> Key:
        self._alive = [key for key in self._alive if key.uses < USES_MAX and key.open < OPEN_MAX]
        while len(self._alive) < KEYS_ALIVE:
            name = f"{self._prefix}/{len(self.names)}"
            self.names.append(name)
            self._alive.append(Key(name))
        key = rng.choice(self._alive)
        key.uses += 1
        return key


@dataclass
class Told:
    """What came back. `answered`: the answer is the operation's; `open`: an attempt may still take effect."""

    answered: bool
    status: int = 0
    body: Any = None
    open: bool = False


@dataclass
class Client:
    """One client with a connection to each node."""

    name: str
    ports: Sequence[int]
    keyring: Keyring
    history: History
    rng: random.Random
    problems: list[str]
    _wires: dict[int, Wire] = field(default_factory=dict)
    _written: int = 0

    async def work(self, ended: asyncio.Event) -> None:
        """Asks until `ended`."""
        kinds: tuple[Kind, ...] = ("put", "get", "cas", "delete")
        try:
            while not ended.is_set():
                (kind,) = self.rng.choices(kinds, (34, 38, 20, 8))
                await self._operate(kind, self.keyring.pick(self.rng))
        finally:
            await self.close()

    async def close(self) -> None:
        for wire in self._wires.values():
            await wire.close()
        self._wires.clear()

    async def _operate(self, kind: Kind, key: Key) -> None:
        operation = Operation(self.name, kind, key.name, start_us=now_us())
        path = f"/kv/{key.name}"
        if kind == "get":
            await self.read(key, "linearizable" if self.rng.random() < 0.3 else "default")
            return
        body: dict[str, Any] | None = None
        if kind != "delete":
            self._written += 1
            operation.arg = f"{self.name}.{self._written}"
            body = {"value": operation.arg}
        if kind == "cas":
            assert body is not None
            # Sometimes an index that cannot be right: a refusal tells something, too.
            operation.expect_index = key.index + (7 if self.rng.random() < 0.1 else 0)
            body["cas"] = operation.expect_index
        told = await self._write("DELETE" if kind == "delete" else "PUT", path, body)
        is_refused = not self._judge_write(operation, told, key)
        if is_refused and kind != "put":
            # To the judge a failed cas or delete tells what was there; this one was never looked at. Should
            # its value be read all the same, nobody wrote it.
            self.history.counts[kind, "fail"] += 1
            return
        self.history.record(operation)
        if operation.outcome == "unknown":
            key.open += 1

    def _judge_write(self, operation: Operation, told: Told, key: Key) -> bool:
        """Notes what is known of a write; False if nobody took it on."""
        if told.status == 200 and told.answered:
            index = int(told.body["modify_index"]) if operation.op != "delete" else None
            key.index = index or 0
            operation.ended("ok", index=index)
        elif told.status in (404, 409) and told.answered and operation.op == "cas":
            found = CURRENT.search(str(told.body))
            current = 0 if told.status == 404 else int(found[1]) if found else None
            if told.open and operation.expect_index == 0:
                # An earlier attempt may come through once the row is gone.
                return True
            key.index = current or 0
            operation.ended("fail", index=current)
        elif told.answered and not (told.status == 503 and "no leader" in str(told.body)):
            if told.status not in (503, 504):
                self.problems.append(f"{operation.op} {key.name}: {told.status} {told.body}")
        elif not told.open:
            operation.ended("fail")
            return False
        return True

    async def read(self, key: Key, consistency: str) -> bool:
        """Reads once and records it; whether it was answered."""
        operation = Operation(self.name, "get", key.name, start_us=now_us())
        path = f"/kv/{key.name}?metadata=true&consistency={consistency}"
        told = await self._once(self.rng.choice(self.ports), "GET", path, None, {})
        if told.status == 200:
            key.index = int(told.body["modify_index"])
            operation.ended("ok", value=str(told.body["value"]), index=key.index)
        elif told.status == 404:
            key.index = 0
            operation.ended("ok")
        else:
            if told.answered and told.status not in (503, 504):
                self.problems.append(f"GET {path}: {told.status} {told.body}")
            operation.ended("fail")
        self.history.record(operation)
        return operation.outcome == "ok"

    async def _write(self, method: str, path: str, body: object) -> Told:
        """Half of the writes carry a request id and are tried again elsewhere until they are answered."""
        if self.rng.random() < 0.5:
            return await self._once(self.rng.choice(self.ports), method, path, body, {})
        headers = {"Idempotency-Key": f"{self.rng.getrandbits(96):024x}"}
        told, is_open = Told(answered=False), False
        for _ in range(TRIES_MAX):
            told = await self._once(self.rng.choice(self.ports), method, path, body, headers)
            if told.status in (200, 404, 409):
                break
            is_open = is_open or told.open
        told.open = told.open or is_open
        return told

    async def _once(
        self, port: int, method: str, path: str, body: object, headers: Mapping[str, str]
    ) -> Told:
        wire = self._wires.setdefault(port, Wire(port, ANSWER_S))
        try:
            status, answer = await wire.ask(method, path, body, headers)
        except Lost as lost:
            await pace(PAUSE_AFTER_LOSS_S)
            return Told(answered=False, open=not isinstance(lost, NotSent))
        is_refused = status == 503 and "no leader" in str(answer)
        if status >= 500:
            await pace(PAUSE_AFTER_LOSS_S)
        return Told(True, status, answer, open=status >= 500 and not is_refused)
