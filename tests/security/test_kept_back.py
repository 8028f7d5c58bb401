"""Requests that are begun with a right and ended without it: what is kept back or waits is decided as of when
it is done."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.ask import Answer
from tests.doors.streams import Stream
from tests.security.guarded import CROWN, CROWN_VALUE, Guarded, Key, Login, leaks
from tests.security.wire import WITHIN_S, Reply, head, lines, replies
from tests.waiting import until

KEPT_BACK = 3
"""Bytes of a body that are sent with its head."""
LONGER_MS = 20_000
"""What somebody waits for, longer than it takes to lose a right."""
ROWS = 60
"""Of a listing longer than sockets buffer."""
WRITES: tuple[tuple[str, str, object], ...] = (
    ("POST", "/auth/apikeys", {"name": "stays", "permissions": ["*"]}),
    ("PUT", f"/kv/{CROWN}", {"value": "taken"}),
    ("PUT", f"/kv/{CROWN}?raw", {"value": "taken"}),
    ("POST", "/batch/kv/set", {"items": {CROWN: "taken"}}),
    ("POST", "/batch/kv/get", {"keys": [CROWN]}),
    ("POST", "/graphql", {"query": f'{{ kv(key: "{CROWN}") {{ value }} }}'}),
)


class Half:
    """A request whose head is with the server, and whose body is not."""

    def __init__(self, server: Guarded, who: Mapping[str, str], method: str, path: str, body: object) -> None:
        text = json.dumps(body).encode()
        about = (*lines(dict(who)), "Content-Type: application/json", f"Content-Length: {len(text)}")
        self._rest = text[KEPT_BACK:]
        self._connection = socket.create_connection(("127.0.0.1", server.port), timeout=WITHIN_S)
        self._connection.sendall(head(method, path, *about, "Connection: close") + text[:KEPT_BACK])

    def end(self) -> Reply:
        """Sends the rest; what the server says to the whole."""
        with self._connection:
            self._connection.sendall(self._rest)
            got = b""
            while chunk := self._connection.recv(65_536):
                got += chunk
        (reply,) = replies(got)
        return reply


def wait_for_heads(server: Guarded, number: int) -> None:
    """Returns when the server has the heads of so many requests that are not answered. The bystander's are
    answered at once: they are in some of the samples, not in all."""
    until(lambda: min(_in_flight(server) for _ in range(5)) > number, f"{number} requests to be under way")


def _in_flight(server: Guarded) -> int:
    """With the one that asks for the figure."""
    page = server.get("/metrics").body.decode()
    (line,) = [one for one in page.splitlines() if one.startswith("konsul_http_requests_in_flight ")]
    return int(float(line.split()[1]))


@contextmanager
def kept_back(server: Guarded, who: Mapping[str, str]) -> Iterator[list[Half]]:
    """Every write of `WRITES`, begun: its credentials were looked at and held."""
    halves = [Half(server, who, *one) for one in WRITES]
    wait_for_heads(server, len(WRITES))
    yield halves


def logged_out(server: Guarded, who: Login) -> None:
    assert server.ask("POST", "/auth/logout", {}, who.headers).status == 200


def deleted(server: Guarded, who: Login) -> None:
    server.by_admin("DELETE", f"/auth/users/{who.user_id}")


def demoted(server: Guarded, who: Login) -> None:
    server.by_admin("PUT", f"/auth/users/{who.user_id}", {"roles": ["user"], "policies": ["attacker"]})


@pytest.mark.parametrize(("ends", "refused"), [(logged_out, 401), (deleted, 401), (demoted, 403)])
def test_a_body_kept_back_is_not_taken_from_who_has_lost_the_right(
    guarded: Guarded, ends: Callable[[Guarded, Login], None], refused: int
) -> None:
    """Else whoever is about to be shut out keeps one request open, and makes a key of it afterwards."""
    guarded.login(roles=("admin",))
    who = guarded.login(roles=("admin",))
    keys = guarded.by_admin("GET", "/auth/apikeys")["count"]
    with kept_back(guarded, who.headers) as halves:
        ends(guarded, who)
        for (method, path, _), half in zip(WRITES, halves, strict=True):
            reply = half.end()
            # GraphQL tells of what may not be seen in its answer.
            assert reply.status == refused or (path == "/graphql" and refused == 403), (method, path, reply)
            assert not leaks(reply.body)
    assert guarded.by_admin("GET", "/auth/apikeys")["count"] == keys


def test_a_body_kept_back_is_not_taken_from_a_revoked_key(guarded: Guarded) -> None:
    key: Key = guarded.key("*")
    with kept_back(guarded, key.headers) as halves:
        guarded.by_admin("POST", f"/auth/apikeys/{key.id}/revoke")
        assert [half.end().status for half in halves] == [401] * len(WRITES)


def test_a_body_in_pieces_is_taken_from_who_still_may(guarded: Guarded, attacker: Login) -> None:
    half = Half(guarded, attacker.headers, "PUT", "/kv/open/pieces", {"value": "whole"})
    wait_for_heads(guarded, 1)
    assert half.end().status == 200
    assert guarded.get("/kv/open/pieces", attacker.headers).json()["value"] == "whole"


def test_what_the_first_token_opened_ends_when_its_file_holds_another(tmp_path: Path) -> None:
    """The key has the same id before and after: it is the secret that was taken away."""
    with Guarded(tmp_path / "guarded") as server:
        with Stream(server.port, "/kv/watch/**", server.admin) as stream:
            assert stream.status == 200
            before = server.admin
            server.admin_key = "another-token-of-the-operator-000"
            Path(server.settings["KONSUL_BOOTSTRAP_TOKEN_FILE"]).write_text(server.admin_key, "utf-8")
            until(lambda: server.get("/kv", server.admin).status == 200, "the file's token to be in force")
            assert server.get("/kv", before).status == 401
            server.by_admin("PUT", f"/kv/{CROWN}", {"value": CROWN_VALUE})
            told = b"".join(block.raw for block in stream.rest())
        assert not leaks(told)
        assert b"invalid API key" in told


@contextmanager
def asking(server: Guarded, who: Login, path: str, more: Mapping[str, str]) -> Iterator[list[Answer]]:
    """One question under way; its answer is there when the block is left."""
    answers: list[Answer] = []

    def ask() -> None:
        answers.append(server.ask("GET", path, None, who.headers | dict(more)))

    thread = threading.Thread(target=ask)
    thread.start()
    wait_for_heads(server, 1)
    yield answers
    thread.join(LONGER_MS / 1_000)
    assert not thread.is_alive()


WAITING = (
    f"/kv/{CROWN}",
    "/kv?prefix=vault",
    "/kv?prefix=vault&recurse",
    f"/kv/{CROWN}?raw",
    "/services",
    "/services/vault-svc",
    "/services/vault-svc/instances",
)


@pytest.mark.parametrize("path", WAITING)
def test_a_long_poll_is_answered_as_who_asks_is_by_then(guarded: Guarded, path: str) -> None:
    """Its wait may be over without a change, ten minutes after the rights are gone."""
    guarded.login(roles=("admin",))
    who = guarded.login(roles=("admin",))
    far = int(guarded.by_admin("GET", f"/kv/{CROWN}?metadata=true")["modify_index"]) + 1_000_000
    query = f"{path}{'&' if '?' in path else '?'}index={far}&wait=1500ms"
    with asking(guarded, who, query, {}) as answers:
        demoted(guarded, who)
    assert answers[0].status == 403 or answers[0].json() == []
    assert not leaks(answers[0])


@pytest.mark.parametrize("path", [*WAITING, "/graphql?query=" + quote(f'{{kv(key:"{CROWN}"){{value}}}}')])
@pytest.mark.parametrize("ends", [logged_out, demoted])
def test_a_read_that_waits_for_an_index_is_answered_as_who_asks_is_by_then(
    guarded: Guarded, path: str, ends: Callable[[Guarded, Login], None]
) -> None:
    guarded.login(roles=("admin",))
    who = guarded.login(roles=("admin",))
    now = int(guarded.get("/kv/open/door", guarded.admin).headers["x-konsul-index"])
    # Above all that the steps below write.
    terms = {"X-Konsul-Min-Index": str(now + 20), "X-Konsul-Timeout-Ms": str(LONGER_MS)}
    with asking(guarded, who, path, terms) as answers:
        ends(guarded, who)
        for number in range(25):
            guarded.by_admin("PUT", f"/kv/open/wake-{number % 2}", {"value": "x"})
    answer = answers[0]
    assert answer.status in (401, 403) or path.startswith("/graphql") or answer.json() == []
    assert not leaks(answer)


@pytest.mark.parametrize("ends", [logged_out, demoted])
def test_a_listing_that_is_read_slowly_ends_with_the_right_to_it(
    guarded: Guarded, ends: Callable[[Guarded, Login], None]
) -> None:
    """Its pages are read as the client takes them, which it may draw out for hours."""
    guarded.login(roles=("admin",))
    who = guarded.login(roles=("admin",))
    value = "x" * 400_000
    for number in range(ROWS):
        guarded.by_admin("PUT", f"/kv/long/{number:03}", {"value": value})
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        connection.settimeout(WITHIN_S)
        connection.connect(("127.0.0.1", guarded.port))
        connection.sendall(head("GET", "/kv?prefix=long/&recurse", *lines(who.headers), "Connection: close"))
        got = connection.recv(1_024)
        assert b"200 OK" in got
        ends(guarded, who)
        guarded.by_admin("PUT", f"/kv/long/{ROWS}", {"value": "written after the end"})
        while chunk := connection.recv(1 << 20):
            got += chunk
    assert 1 <= got.count(b"long/0") < ROWS
    assert b"written after the end" not in got


def test_a_stream_of_health_ends_with_the_right_to_it(tmp_path: Path) -> None:
    """No change passes while it tells how the node is with each sign of life."""
    with Guarded(tmp_path / "guarded", {"KONSUL_WATCH_HEARTBEAT_INTERVAL": "1s"}) as server:
        server.add_policy({"name": "health", "health": [{"capabilities": ["read"]}]})
        who = server.login("health")
        with Stream(server.port, "/health/watch", who.headers) as stream:
            assert stream.status == 200
            assert stream.event("health-change").data["data"]["status"] == "healthy"
            server.by_admin("PUT", f"/auth/users/{who.user_id}", {"policies": []})
            assert b"forbidden" in b"".join(block.raw for block in stream.rest())
