"""A client's certificate stands for a user: no token is needed, and the user's row decides."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.conftest import LiveServer
from tests.doors.tls_files import Files
from tests.waiting import until

TOKEN = "an-operators-own-token-of-32-characters-or-more"
ADMIN = {"X-API-Key": TOKEN}


class Mutual:
    """A server that knows users by their certificates."""

    def __init__(self, server: LiveServer, files: Files) -> None:
        self._server, self.files = server, files

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> tuple[int, Any]:
        """Status and document of one request on its own connection; with `user`, with its certificate."""
        context = self.files.context() if user is None else self._context(user)
        connection = http.client.HTTPSConnection("127.0.0.1", self._server.port, timeout=30, context=context)
        try:
            sent = {"Content-Type": "application/json"} | dict(headers or {})
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def _context(self, user: str) -> ssl.SSLContext:
        name = self.files.folder / f"{user}.pem"
        if not name.exists():
            self.files.client(user)
        context = self.files.context()
        context.load_cert_chain(name, self.files.folder / f"{user}-key.pem")
        return context


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mutual]:
    folder = tmp_path_factory.mktemp("mutual")
    files = Files.make(folder / "certificates")
    for name, text in (("token", TOKEN), ("secret", "a secret of thirty-two bytes or more")):
        (folder / name).write_text(text, encoding="utf-8")
    settings = files.settings(
        KONSUL_TLS_CLIENT_AUTH="optional",
        KONSUL_TLS_CLIENT_CA_FILE=files.ca,
        KONSUL_TLS_CLIENT_IDENTITY="user",
        KONSUL_AUTH_ENABLED="true",
        KONSUL_JWT_SECRET_FILE=str(folder / "secret"),
        KONSUL_BOOTSTRAP_TOKEN_FILE=str(folder / "token"),
    )
    with files.server(folder / "data", settings) as server:
        found = Mutual(server, files)
        until(lambda: found.ask("GET", "/kv", headers=ADMIN)[0] == 200, "the first token")
        yield found


def made(mutual: Mutual, user: str, *roles: str) -> None:
    body = {"user_id": user, "username": user.title(), "roles": list(roles or ("user",))}
    status, answer = mutual.ask("POST", "/auth/users", body | {"password": "long enough"}, headers=ADMIN)
    assert status == 201, answer


def test_a_certificate_is_its_user(mutual: Mutual) -> None:
    made(mutual, "alice")
    made(mutual, "root", "admin")
    status, who = mutual.ask("GET", "/auth/verify", user="alice")
    assert (status, who["user_id"], who["username"], who["method"]) == (200, "alice", "Alice", "certificate")
    assert mutual.ask("PUT", "/kv/by-alice", {"value": "1"}, user="alice")[0] == 200
    assert mutual.ask("GET", "/auth/users", user="alice")[0] == 403
    assert mutual.ask("GET", "/auth/users", user="root")[0] == 200


def test_a_good_certificate_of_nobody_is_nobody(mutual: Mutual) -> None:
    assert mutual.ask("GET", "/kv", user="mallory") == (401, {"error": "certificate names no user"})
    assert mutual.ask("GET", "/kv") == (401, {"error": "missing authorization header"})


def test_what_is_brought_beside_a_certificate_counts(mutual: Mutual) -> None:
    made(mutual, "carol")
    status, who = mutual.ask("GET", "/auth/verify", headers=ADMIN, user="carol")
    assert (status, who["type"], who["roles"]) == (200, "api_key", ["admin"])
    wrong = {"Authorization": "Bearer a.b.c"}
    assert mutual.ask("GET", "/kv", headers=wrong, user="carol") == (401, {"error": "invalid token"})


def test_the_users_row_decides_from_one_moment_to_the_next(mutual: Mutual) -> None:
    made(mutual, "dave")
    assert mutual.ask("GET", "/kv", user="dave")[0] == 200
    mutual.ask("POST", "/auth/users/dave/disable", headers=ADMIN)
    until(lambda: mutual.ask("GET", "/kv", user="dave")[0] == 401, "the certificate to stand for nobody")
    mutual.ask("POST", "/auth/users/dave/enable", headers=ADMIN)
    until(lambda: mutual.ask("GET", "/kv", user="dave")[0] == 200, "the certificate to stand for its user")
    status, answer = mutual.ask("POST", "/auth/logout", user="dave")
    assert (status, list(answer)) == (400, ["error"])
