"""The configurations of docs/operate/dns.md as they are printed, with the ports of a test."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.real_clients.debian import program
from tests.tidy.tree import ROOT

_PAGE = ROOT / "docs" / "operate" / "dns.md"
_PORT = "8600"


def block(name: str, port: int) -> str:
    """What stands on the page for `name`, which asks `port`."""
    text = _PAGE.read_text(encoding="utf-8")
    found = re.search(rf"^```conf {name}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert found is not None, f"the page has no block for {name}"
    assert _PORT in found[1] or name == "node"
    return found[1].replace(_PORT, str(port))


@contextmanager
def running(name: str, package: str, arguments: list[str], folder: Path) -> Iterator[Path]:
    """A program in the foreground, until the end; its log."""
    binary, more = program(name, package)
    log = folder / f"{name}.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [binary, *arguments],
            cwd=folder,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **more},
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
        )
    try:
        yield log
        assert process.poll() is None, log.read_text("utf-8", "replace")[-2_000:]
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
