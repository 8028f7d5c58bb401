"""What the pages show of watching works as it is printed: the first command stays, and shows what the others
do."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from konsul.client import Client, Service
from tests.child import line_with, staying
from tests.process import Server
from tests.tidy.test_tour import PORT, SNIPPET, run, shown
from tests.tidy.tree import ROOT

BLOCK = re.compile(r"^```console watch\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGE = "docs/start/watching.md"
END_S = 60.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("watching") / "data") as started:
        yield started


def watching(words: list[str], server: Server, home: Path) -> AbstractContextManager[subprocess.Popen[str]]:
    """A command as the pages show it."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "KONSUL_SERVER": f"http://127.0.0.1:{server.port}",
        "HOME": str(home),
    }
    return staying(words, environment)


def blocks(page: str) -> list[list[str]]:
    """The commands of each block of a page."""
    found = BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    return [[line[2:] for line in block.splitlines() if line.startswith("$ ")] for block in found]


EXPECTED = {
    "README.md": [["CREATE app/db: mysql", "UPDATE app/db: mysql -> mariadb"]],
    PAGE: [
        [
            "CREATE config/colour: green",
            "UPDATE config/colour: green -> red",
            "DELETE config/colour (was: red)",
        ],
        ["CURRENT api - ", "REGISTER api - 10.0.0.8:9000", "HEARTBEAT api - ", "DEREGISTER api - "],
    ],
}


@pytest.mark.parametrize("page", EXPECTED)
def test_a_watch_shows_what_the_others_do(server: Server, tmp_path: Path, page: str) -> None:
    with Client(f"http://127.0.0.1:{server.port}") as client:
        client.kv.set("app/db", "mysql")
        client.kv.set("config/colour", "green")
        client.services.register(Service("api", "10.0.0.7", 9000))
    found = blocks(page)
    assert len(found) == len(EXPECTED[page])
    for (watch, *others), lines in zip(found, EXPECTED[page], strict=True):
        words = shlex.split(watch.replace(PORT, f"127.0.0.1:{server.port}"))
        with watching(words, server, tmp_path) as process:
            # The first line is of what was there: the watch has its place, and nothing after it is missed.
            line_with(process, lines[0])
            for command, line in zip(others, lines[1:], strict=True):
                run(command, server.port, tmp_path)
                line_with(process, line)
            process.send_signal(signal.SIGINT)
            line_with(process, "Stopping watch...")
            assert process.wait(END_S) == 0


def test_the_other_commands_of_the_page_work(server: Server, tmp_path: Path) -> None:
    said = [run(command, server.port, tmp_path) for command in shown(PAGE)]
    assert '"value": "9000"' in said[1]
    assert '"value": "9000"' in said[2]


def test_the_python_of_the_page_works(server: Server, tmp_path: Path) -> None:
    snippets = SNIPPET.findall((ROOT / PAGE).read_text(encoding="utf-8"))
    with Client(f"http://127.0.0.1:{server.port}") as client:
        client.kv.set("config/port", "1")
        client.services.deregister_all("api")
        acts: list[tuple[Callable[[], object], list[str]]] = [
            (lambda: client.kv.set("config/new", "x"), ["'config/port': b'1'", "'config/new': b'x'"]),
            (
                lambda: client.services.register(Service("api", "10.0.0.8", 1)),
                ["0 instances", "register api 10.0.0.8"],
            ),
            (lambda: client.kv.set("config/port", "2"), ["1", "2"]),
        ]
        for code, (act, (before, after)) in zip(snippets[:3], acts, strict=True):
            with watching([sys.executable, str(script(code, server, tmp_path))], server, tmp_path) as process:
                line_with(process, before)
                act()
                line_with(process, after)
        with watching(
            [sys.executable, str(script(snippets[3], server, tmp_path))], server, tmp_path
        ) as process:
            line_with(process, "from")
            client.kv.set("config/last", "y")
            assert "SET" in line_with(process, "config/last")
    assert len(snippets) == 4


def script(code: str, server: Server, folder: Path) -> Path:
    path = folder / "shown.py"
    path.write_text(code.replace("127.0.0.1:8888", f"127.0.0.1:{server.port}"), encoding="utf-8")
    return path
