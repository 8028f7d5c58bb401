"""What nodes ask each other: `[kind, body]` in msgpack, answered by a handler that somebody registered.

The engine carries the bytes; here they get their meaning. A handler's errors travel back as themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, TypeAlias

import msgpack

from konsul.errors import Internal, Invalid, KonsulError, NotFound

PAYLOAD_BYTES_MAX: Final = 1 << 20
"""The longest question or answer, packed."""
_APPLIED: Final = 0
_OPEN_MAX: Final = 256


class Caller(NamedTuple):
    """Who asks: the member's raft id (0: no member), and the address the question came from."""

    raft_id: int
    address: str


Handler: TypeAlias = Callable[[Caller, dict[str, Any]], Awaitable[dict[str, Any]]]


class Handlers:
    """Who answers which kind of question. Members may ask everything, strangers only what is `open`."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Handler, bool]] = {}

    def __setitem__(self, kind: str, handler: Handler) -> None:
        self.add(kind, handler)

    def __delitem__(self, kind: str) -> None:
        del self._known[kind]

    def __contains__(self, kind: str) -> bool:
        return kind in self._known

    def add(self, kind: str, handler: Handler, *, open: bool = False) -> None:
        """Has `handler` answer `kind`; with `open` also for who is not a member (yet)."""
        self._known[kind] = handler, open

    def find(self, kind: str, caller: Caller) -> Handler:
        """The handler of `kind`.

        Raises:
            NotFound: nobody answers it, or not to this caller.
        """
        handler, is_open = self._known.get(kind, (None, False))
        if handler is None or not (is_open or caller.raft_id):
            raise NotFound(f"this node does not answer {kind!r} to you")
        return handler

    async def answer(self, caller: Caller, payload: bytes) -> tuple[int, bytes]:
        """Answers one question: a status (0, else the error's code) and the packed body or the message."""
        try:
            kind, body = unpack_question(payload)
            return _APPLIED, pack(await self.find(kind, caller)(caller, body))
        except KonsulError as error:
            return error.code, str(error).encode()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            # A defect here must not leave the asking node waiting; the type is all that may cross.
            return Internal.code, f"the question failed here: {type(error).__name__}".encode()


class Answering:
    """Gives every question that waits to its handler, each in a task. The core bounds how many are open."""

    def __init__(
        self,
        handlers: Handlers,
        take: Callable[[int], list[tuple[int, int, str, bytes]]],
        answer: Callable[[int, int, bytes], None],
    ) -> None:
        self._handlers, self._take, self._tell = handlers, take, answer
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self) -> None:
        """Takes those that wait."""
        for call_id, raft_id, address, payload in self._take(_OPEN_MAX):
            task = asyncio.ensure_future(self._answer(call_id, Caller(raft_id, address), payload))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """Leaves the open ones without an answer."""
        for task in self._tasks:
            task.cancel()

    async def _answer(self, call_id: int, caller: Caller, payload: bytes) -> None:
        status, answer = await self._handlers.answer(caller, payload)
        self._tell(call_id, status, answer)


def pack(body: Any) -> bytes:
    """Packs a question or an answer.

    Raises:
        Invalid: it is longer than `PAYLOAD_BYTES_MAX`.
    """
    packed: bytes = msgpack.packb(body)
    if len(packed) > PAYLOAD_BYTES_MAX:
        raise Invalid(f"a message between nodes is limited to {PAYLOAD_BYTES_MAX} bytes")
    return packed


def unpack_question(payload: bytes) -> tuple[str, dict[str, Any]]:
    """The kind and the body of a packed question.

    Raises:
        Invalid: it is none.
    """
    question = _unpack(payload)
    match question:
        case [str() as kind, dict() as body]:
            return kind, body
    raise Invalid("this is not a question of a Konsul node")


def unpack_answer(payload: bytes) -> dict[str, Any]:
    """The body of a packed answer.

    Raises:
        Invalid: it is none.
    """
    body = _unpack(payload)
    if not isinstance(body, dict):
        raise Invalid("this is not an answer of a Konsul node")
    return body


def _unpack(payload: bytes) -> Any:
    try:
        return msgpack.unpackb(payload)
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise Invalid("a message between nodes cannot be read") from error
