"""A guarded server for a module, and the bystander whom no attack may keep waiting in vain."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import pytest

from tests.security.guarded import CROWN_VALUE, Guarded, Login

PAUSE_S = 0.05
PATIENCE_S = 30.0


class Bystander:
    """Another client, on a connection of its own and with a right to be answered, for as long as it is
    entered."""

    def __init__(self, server: Guarded) -> None:
        self._server = server
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self.answered = 0
        self.failed: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(PATIENCE_S)

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=PATIENCE_S)
        try:
            while True:
                connection.request("GET", "/kv/open/door", headers=self._server.admin)
                answer = connection.getresponse()
                body = answer.read()
                if answer.status == 200 and b"ajar" in body:
                    self.answered += 1
                else:
                    self.failed.append(f"{answer.status} {body[:200]!r}")
                if self._ended.wait(PAUSE_S):
                    return
        except (OSError, http.client.HTTPException) as error:
            self.failed.append(repr(error))
        finally:
            connection.close()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """One guarded server for a module's tests."""
    with Guarded(tmp_path_factory.mktemp("guarded")) as server:
        server.furnish()
        yield server


@pytest.fixture(autouse=True)
def others_are_served(request: pytest.FixtureRequest) -> Iterator[None]:
    """Around each attack on the module's server: another client is answered, and what is guarded is
    untouched."""
    if "guarded" not in request.fixturenames:
        yield
        return
    server: Guarded = request.getfixturevalue("guarded")
    before = server.crown()
    assert before[0] == CROWN_VALUE
    with Bystander(server) as other:
        yield
        seen = other.answered
    assert other.failed == []
    assert other.answered >= seen
    assert other.answered > 0
    assert server.crown() == before
    assert server.running()


@pytest.fixture(scope="module")
def attacker(guarded: Guarded) -> Login:
    """A user who may do much below `open/`, and nothing elsewhere."""
    return guarded.login("attacker")
