"""A headless Chromium, driven over its own DevTools protocol."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

from tests.real_clients.packages import chromium
from tests.waiting import until

WITHIN_S = 60.0
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--remote-debugging-port=0", "--disable-background-networking", "--disable-component-update"),
    *("--disable-extensions", "--no-proxy-server", "--ozone-platform=headless"),
)


class Page:
    """One tab."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self._call("Page.enable")
        self._call("Network.enable")

    def go(self, url: str) -> None:
        """Opens `url` and waits until its document and scripts are there."""
        self._call("Page.navigate", url=url)
        until(lambda: self.value("document.readyState === 'complete' && location.href") == url, url, WITHIN_S)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression comes to; a promise is awaited.

        Raises:
            AssertionError: it threw.
        """
        asked = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        answer = self._call("Runtime.evaluate", **asked)
        assert "exceptionDetails" not in answer, (expression, answer)
        return answer["result"].get("value")

    def asked_for(self) -> list[str]:
        """The address of everything the page has loaded so far."""
        return [
            one["params"]["request"]["url"]
            for one in self._browser.events
            if one["method"] == "Network.requestWillBeSent" and one.get("sessionId") == self._session
        ]

    def _call(self, method: str, **parameters: object) -> Any:
        return self._browser.call(method, parameters, self._session)


class Browser:
    """The process, with a profile of its own in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._stack = ExitStack()
        self.events: list[dict[str, Any]] = []
        """What it told unasked."""

    def __enter__(self) -> Self:
        binary, needs = chromium()
        with (self._folder / "chromium.log").open("wb") as log:
            self._process = subprocess.Popen(
                [binary, *FLAGS, f"--user-data-dir={self._folder}", "about:blank"],
                env=os.environ | needs,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._stack.callback(self._kill)
        try:
            self._connect()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _connect(self) -> None:
        door = self._folder / "DevToolsActivePort"
        until(
            lambda: self._gone() or (door.exists() and len(door.read_text().split()) == 2),
            "Chromium",
            WITHIN_S,
        )
        assert not self._gone(), (self._folder / "chromium.log").read_text(errors="replace")[-2000:]
        port, path = door.read_text().split()
        dialing = connect(f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None)
        self._connection: ClientConnection = self._stack.enter_context(dialing)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _kill(self) -> None:
        # The group: what a distribution installs may be a script, and the browser its child.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(WITHIN_S)

    def _gone(self) -> bool:
        return self._process.poll() is not None

    def page(self) -> Page:
        """A new, empty tab."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        return Page(self, session)

    def call(self, method: str, parameters: object, session: str | None = None) -> Any:
        """One command of the protocol, and its result."""
        number = next(self._numbers)
        command = {"id": number, "method": method, "params": parameters}
        self._connection.send(json.dumps(command | ({"sessionId": session} if session else {})))
        while True:
            told = json.loads(self._connection.recv(timeout=WITHIN_S))
            if told.get("id") == number:
                assert "error" not in told, (method, told)
                return told["result"]
            if "method" in told:
                self.events.append(told)
