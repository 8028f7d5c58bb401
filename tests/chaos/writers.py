"""The writers: each does one kind of write while the server answers, and records what it was told."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from tests.chaos.record import ABSENT, Record
from tests.chaos.wire import Lost, Wire

COUNTER = "chaos/counter"
KEYS_EACH = 6
Write = Callable[[Wire, Record, random.Random, int], Awaitable[None]]


async def write_until_lost(port: int, record: Record, rng: random.Random, writer: int) -> None:
    """Writes until the connection is lost, which is the server's end."""
    wire = Wire(port)
    write = WRITES[writer % len(WRITES)]
    try:
        while True:
            await write(wire, record, rng, writer)
    except Lost:
        return
    finally:
        await wire.close()


async def put(wire: Wire, record: Record, rng: random.Random, writer: int) -> None:
    name = f"chaos/put/{writer}/{rng.randrange(KEYS_EACH)}"
    value = f"{rng.getrandbits(64):016x}"
    answer = await _send(wire, record, [name], value, "PUT", f"/kv/{name}", {"value": value})
    _landed(record, [name], value, int(answer["modify_index"]))


async def put_and_delete(wire: Wire, record: Record, rng: random.Random, writer: int) -> None:
    name = f"chaos/delete/{writer}/{rng.randrange(KEYS_EACH)}"
    if record.key(name).value is ABSENT:
        value = "here"
        answer = await _send(wire, record, [name], value, "PUT", f"/kv/{name}", {"value": value})
        _landed(record, [name], value, int(answer["modify_index"]))
    else:
        await _send(wire, record, [name], ABSENT, "DELETE", f"/kv/{name}")
        _landed(record, [name], ABSENT, None)


async def batch(wire: Wire, record: Record, rng: random.Random, writer: int) -> None:
    names = [f"chaos/batch/{writer}/{number}" for number in range(KEYS_EACH)]
    record.groups.setdefault(f"the batch of writer {writer}", names)
    value = f"{rng.getrandbits(64):016x}"
    body = {"items": dict.fromkeys(names, value)}
    await _send(wire, record, names, value, "POST", "/batch/kv/set", body)
    _landed(record, names, value, None)


async def transaction(wire: Wire, record: Record, rng: random.Random, writer: int) -> None:
    names = [f"chaos/transaction/{writer}/{side}" for side in ("left", "right")]
    record.groups.setdefault(f"the transaction of writer {writer}", names)
    value = f"{rng.getrandbits(64):016x}"
    body = {"operations": [{"type": "set", "key": name, "value": value} for name in names]}
    await _send(wire, record, names, value, "POST", "/transaction", body)
    _landed(record, names, value, None)


async def increment(wire: Wire, record: Record, rng: random.Random, writer: int) -> None:
    """Reads the shared counter and writes it one higher if nobody else did meanwhile."""
    del rng, writer
    status, now = await wire.ask("GET", f"/kv/{COUNTER}?metadata=true")
    found = status == 200
    body = {
        "value": str(int(now["value"]) + 1 if found else 1),
        "cas": int(now["modify_index"]) if found else 0,
    }
    try:
        status, answer = await wire.ask("PUT", f"/kv/{COUNTER}", body)
    except Lost:
        record.increments_unknown += 1
        record.unknown += 1
        raise
    if status == 200:
        record.increments += 1
        record.acknowledged += 1
        record.index(int(answer["modify_index"]))
    elif status != 409:
        record.problems.append(f"PUT /kv/{COUNTER}: {status} {answer}")
        raise Lost(COUNTER)


async def _send(
    wire: Wire,
    record: Record,
    names: Iterable[str],
    value: str | None,
    method: str,
    path: str,
    body: object = None,
) -> dict[str, Any]:
    try:
        status, answer = await wire.ask(method, path, body)
    except Lost:
        record.unknown += 1
        for name in names:
            record.key(name).unknown(value)
        raise
    if status == 503:
        # Stopping or not yet ready: refused, so it did not happen.
        raise Lost(path)
    if status != 200:
        record.problems.append(f"{method} {path}: {status} {answer}")
        raise Lost(path)
    return dict(answer)


def _landed(record: Record, names: Iterable[str], value: str | None, index: int | None) -> None:
    record.acknowledged += 1
    for name in names:
        record.key(name).acknowledged(value, index)
    if index is not None:
        record.index(index)


WRITES: tuple[Write, ...] = (put, increment, batch, transaction, put_and_delete, put, increment, put)
