"""What the engine answers: rows, pages, where a write landed, and the errors behind the core's numbers."""

from __future__ import annotations

from types import TracebackType
from typing import Any, NamedTuple, TypeAlias

import msgpack

from konsul.errors import Conflict, Internal, KonsulError

Completion: TypeAlias = tuple[int, int, int, int, bytes]
"""`(ticket, status, index, number, text)`, see `Core.reap`."""


class Applied(NamedTuple):
    """Where a write landed: the entry's index, which its rows have as modify_index, and the case it chose."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    case: int


class Row(NamedTuple):
    """One stored row, its cells in column order."""

    create_index: int
    modify_index: int
    cells: list[Any]


class Page(NamedTuple):
    """One page of rows as `(key, row)`, and the key to continue after, or None at the end."""

    rows: list[tuple[bytes, Row]]
    after: bytes | None


class JsonPage(NamedTuple):
    """One page as a JSON array, how many items it holds, and the key to continue after."""

    json: bytes
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here
    after: bytes | None


def unpack_row(packed: bytes) -> Row:
    """Reads the core's packed row."""
    unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, max_buffer_size=0)
    unpacker.feed(memoryview(packed)[16:])
    return Row(int.from_bytes(packed[:8]), int.from_bytes(packed[8:16]), list(unpacker))


def raise_for(completion: Completion) -> Applied:
    """The answer of a finished ticket.

    Raises:
        KonsulError: the class of the completion's status.
    """
    _, status, index, number, text = completion
    if status == 0:
        return Applied(index, number)
    if status == Conflict.code:
        raise Conflict(f"conflict: current modify_index is {number}", key=text, current=number)
    raise error_of(status, text.decode("utf-8", "replace"))


def text_of(completion: Completion) -> bytes:
    """The text of a finished ticket that is no write, so that a Conflict tells in words what it is about.

    Raises:
        KonsulError: the class of the completion's status.
    """
    if completion[1] != 0:
        raise error_of(completion[1], completion[4].decode("utf-8", "replace"))
    return completion[4]


def error_of(code: int, message: str) -> KonsulError:
    """The one doorway from numbers to classes."""
    kind = KonsulError.by_code.get(code)
    return (
        Internal(f"the core answered the unknown code {code}: {message}") if kind is None else kind(message)
    )


class Door:
    """The one doorway for errors: what is `raised` inside it leaves as an error of `errors.py`."""

    __slots__ = ("_raised",)

    def __init__(self, raised: type[Exception]) -> None:
        """`raised`: has `args` of `(code, message)`."""
        self._raised = raised

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, self._raised):
            code, message = error.args
            raise error_of(code, message) from None
