"""Questions between nodes without a wire: who may ask what, and what cannot be understood."""

from __future__ import annotations

import asyncio
from typing import Any

import msgpack
import pytest

from konsul.calls import PAYLOAD_BYTES_MAX, Caller, Handlers, pack, unpack_answer
from konsul.errors import Internal, Invalid, NotFound

MEMBER = Caller(7, "10.0.0.7:7000")
STRANGER = Caller(0, "10.0.0.9:40000")


async def echo(caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
    return {"body": body, "from": caller.address}


def ask(handlers: Handlers, caller: Caller, payload: bytes) -> tuple[int, bytes]:
    return asyncio.run(handlers.answer(caller, payload))


def test_strangers_are_answered_only_what_is_open() -> None:
    handlers = Handlers()
    handlers["private"] = echo
    handlers.add("hello", echo, open=True)
    for kind, caller, expected in [
        ("private", MEMBER, 0),
        ("private", STRANGER, NotFound.code),
        ("hello", STRANGER, 0),
        ("unheard", MEMBER, NotFound.code),
    ]:
        status, answer = ask(handlers, caller, pack([kind, {"n": 1}]))
        assert status == expected, (kind, caller)
        if status == 0:
            assert unpack_answer(answer) == {"body": {"n": 1}, "from": caller.address}
    del handlers["private"]
    assert "private" not in handlers
    assert "hello" in handlers


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\x93",
        msgpack.packb("hello"),
        msgpack.packb(["hello"]),
        msgpack.packb([1, {}]),
        b"\x91" * 2_000,
    ],
)
def test_what_is_no_question_is_refused(payload: bytes) -> None:
    handlers = Handlers()
    handlers.add("hello", echo, open=True)
    assert ask(handlers, STRANGER, payload)[0] == Invalid.code


def test_an_answer_that_is_too_long_or_none_is_a_named_error() -> None:
    async def endless(caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
        return {"more": b"x" * PAYLOAD_BYTES_MAX}

    async def broken(caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
        raise ValueError("what nobody else may read")

    handlers = Handlers()
    handlers["endless"], handlers["broken"] = endless, broken
    assert ask(handlers, MEMBER, pack(["endless", {}]))[0] == Invalid.code
    status, text = ask(handlers, MEMBER, pack(["broken", {}]))
    assert (status, text) == (Internal.code, b"the question failed here: ValueError")
    for answer in (b"", b"\x01", b"\xc1"):
        with pytest.raises(Invalid):
            unpack_answer(answer)
