"""What docs/concepts/watches.md shows is what a server says: its commands run, its streams are compared."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.ask import ask
from tests.doors.streams import Stream
from tests.process import Server
from tests.tidy.test_tour import BLOCK, run
from tests.tidy.tree import ROOT

PAGE = ROOT / "docs" / "concepts" / "watches.md"
MOMENT = re.compile(rb'"timestamp":\d+')
STREAMED = "curl -N "


def opened(command: str, port: int) -> Stream:
    """What `curl -N` would be shown; curl itself has its own tests."""
    words = shlex.split(command)
    headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
    return Stream(port, "/" + words[2].partition("/")[2], headers)


def blocks_of(text: str) -> list[bytes]:
    return [MOMENT.sub(b'"timestamp":0', part.encode() + b"\n") for part in text.strip("\n").split("\n\n")]


def heard(stream: Stream, count: int) -> list[bytes]:
    found = []
    for _ in range(count):
        block = stream.block()
        assert block is not None
        found.append(MOMENT.sub(b'"timestamp":0', block.raw))
    return found


def test_the_shown_streams_say_what_is_shown(tmp_path: Path) -> None:
    compared = 0
    with Server(tmp_path / "data") as server:
        streams: list[tuple[Stream, list[bytes]]] = []
        for block in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
            if block.startswith("$ " + STREAMED):
                command, _, shown = block.removeprefix("$ ").partition("\n")
                streams.append((opened(command, server.port), blocks_of(shown)))
                continue
            if "index=0" in block:
                ask(server.port, "PUT", "/kv/app/mode", {"value": "dark"})
            for line in block.splitlines():
                run(line.removeprefix("$ "), server.port, tmp_path)
        for stream, shown in streams:
            with stream:
                assert heard(stream, len(shown)) == shown
                compared += len(shown)
    assert compared >= 7
