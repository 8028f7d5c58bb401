"""Server-sent events out of the pieces of a stream."""

from __future__ import annotations

import pytest

from konsul.client import sse
from konsul.client.sse import Heard, Parser
from konsul.errors import TooLarge

TEXT = (
    b": watching\nid: 7\n\n"
    b'id: 8\nevent: kv-change\ndata: {"a":\ndata: 1}\n\n'
    b": keep-alive\n\n"
    b"data:no space\r\n\r\n"
    b"data\rretry: 5\r\r"
    b"id: 9\n\n"
    b"data: gr\xc3\xbcn\n\n"
)
EVENTS = [
    Heard("", id="7"),
    Heard('{"a":\n1}', "kv-change", "8"),
    Heard("no space"),
    Heard(""),
    Heard("", id="9"),
    Heard("grün"),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, len(TEXT)])
def test_events_however_the_stream_is_cut(size: int) -> None:
    parser = Parser()
    pieces = [TEXT[at : at + size] for at in range(0, len(TEXT), size)]
    assert [heard for piece in pieces for heard in parser.feed(piece)] == EVENTS


def test_an_unfinished_event_is_none() -> None:
    parser = Parser()
    assert parser.feed(b"data: half\n") == []
    assert parser.feed(b"\n") == [Heard("half")]


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 50, b"data: x\n"])
def test_an_event_without_end_is_refused(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "EVENT_BYTES_MAX", 1000)
    parser = Parser()
    with pytest.raises(TooLarge):
        list(map(parser.feed, [piece] * 1000))
