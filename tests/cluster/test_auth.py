"""Who calls, known by every node: what one node takes away the others refuse, and nothing is lost."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.ask import Answer
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.node import Node
from tests.doors.streams import Stream
from tests.waiting import until

PASSWORD = "a long enough passphrase"
SOON_S = 10.0
"""How long a test waits at most; the nodes take milliseconds."""


class GuardedTrio:
    """Three nodes with auth on, and their administrator."""

    def __init__(self, cluster: Cluster, admin: dict[str, str]) -> None:
        self.cluster, self.admin = cluster, admin

    def nodes(self) -> list[Node]:
        """The leader first."""
        leader = self.cluster.until_leader()
        return [leader, *(node for node in self.cluster.nodes.values() if node is not leader)]

    def by_admin(self, node: Node, method: str, path: str, body: object = None) -> Any:
        """What an administrator's request answers; it must succeed."""
        answer = node.ask(method, path, body, self.admin)
        assert answer.status < 300, (method, path, answer.status, answer.body)
        return answer.json() if answer.body else None

    def user(self, node: Node) -> str:
        """A new user's id."""
        user_id = f"u-{secrets.token_hex(6)}"
        made = {"user_id": user_id, "username": user_id, "password": PASSWORD}
        self.by_admin(node, "POST", "/auth/users", made)
        return user_id

    def log_in(self, node: Node, user_id: str) -> dict[str, str]:
        """What a login answers."""
        asked = {"user_id": user_id, "username": user_id, "password": PASSWORD}
        answer = node.ask("POST", "/auth/login", asked)
        assert answer.status == 200, answer.body
        return dict(answer.json())


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedTrio]:
    """One cluster for the tests of this file."""
    folder = tmp_path_factory.mktemp("guarded")
    token, secret = folder / "token", folder / "secret"
    token.write_text(secrets.token_hex(32), encoding="utf-8")
    secret.write_text(secrets.token_hex(32), encoding="utf-8")
    settings = {
        "KONSUL_AUTH_ENABLED": "true",
        "KONSUL_BOOTSTRAP_TOKEN_FILE": str(token),
        "KONSUL_JWT_SECRET_FILE": str(secret),
        "KONSUL_LOGIN_ATTEMPTS": "1000",
    }
    admin = {"X-API-Key": token.read_text(encoding="utf-8")}
    cluster = Cluster(folder, settings=settings)
    for node in cluster.nodes.values():
        node.headers = admin
    with cluster:
        until(lambda: all(_status(node, admin) == 200 for node in cluster.nodes.values()), "the first token")
        yield GuardedTrio(cluster, admin)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _status(node: Node, headers: dict[str, str]) -> int:
    return node.ask("GET", "/kv", None, headers).status


def everywhere(nodes: list[Node], headers: dict[str, str], status: int) -> Callable[[], bool]:
    return lambda: all(_status(node, headers) == status for node in nodes)


@pytest.mark.timeout(200)
def test_a_login_counts_on_every_node_at_once(guarded: GuardedTrio) -> None:
    nodes = guarded.nodes()
    user = guarded.user(nodes[0])
    for first in nodes:
        headers = bearer(guarded.log_in(first, user)["token"])
        assert [_status(node, headers) for node in nodes] == [200, 200, 200], first.name


@pytest.mark.timeout(200)
@pytest.mark.parametrize("what", ["logout", "disabled", "deleted", "password"])
def test_what_ends_on_one_node_ends_on_all(guarded: GuardedTrio, what: str) -> None:
    nodes = guarded.nodes()
    leader, one, other = nodes
    user = guarded.user(leader)
    headers = bearer(guarded.log_in(one, user)["token"])
    until(everywhere(nodes, headers, 200), "every node to know the token", SOON_S)
    if what == "logout":
        assert other.ask("POST", "/auth/logout", None, headers).status == 200
    elif what == "disabled":
        guarded.by_admin(other, "POST", f"/auth/users/{user}/disable")
    elif what == "deleted":
        guarded.by_admin(other, "DELETE", f"/auth/users/{user}")
    else:
        guarded.by_admin(other, "POST", f"/auth/users/{user}/passwd", {"password": f"{PASSWORD}, a new one"})
    until(everywhere(nodes, headers, 401), "every node to refuse the token", SOON_S)
    assert {node.ask("GET", "/kv", None, headers).json()["error"] for node in nodes} == {"token revoked"}


@pytest.mark.timeout(200)
def test_a_revoked_key_is_refused_everywhere(guarded: GuardedTrio) -> None:
    nodes = guarded.nodes()
    made = guarded.by_admin(nodes[1], "POST", "/auth/apikeys", {"name": "k"})
    headers = {"X-API-Key": made["key"]}
    until(everywhere(nodes, headers, 200), "every node to know the key", SOON_S)
    guarded.by_admin(nodes[2], "POST", f"/auth/apikeys/{made['api_key']['id']}/revoke")
    until(everywhere(nodes, headers, 401), "every node to refuse the key", SOON_S)
    guarded.by_admin(nodes[0], "PUT", f"/auth/apikeys/{made['api_key']['id']}", {"enabled": True})
    until(everywhere(nodes, headers, 200), "every node to take it again", SOON_S)


@pytest.mark.timeout(200)
def test_a_spent_refresh_token_ends_its_login_on_every_node(guarded: GuardedTrio) -> None:
    nodes = guarded.nodes()
    leader, one, other = nodes
    held = guarded.log_in(one, guarded.user(leader))
    spent = {"refresh_token": held["refresh_token"]}
    answer = other.ask("POST", "/auth/refresh", spent)
    assert answer.status == 200, answer.body
    renewed = bearer(answer.json()["token"])
    until(everywhere(nodes, renewed, 200), "every node to know the new token", SOON_S)
    assert _refused(one.ask("POST", "/auth/refresh", spent))
    for headers in (renewed, bearer(held["token"])):
        until(everywhere(nodes, headers, 401), "the whole login to be over", SOON_S)
    assert _refused(other.ask("POST", "/auth/refresh", {"refresh_token": answer.json()["refresh_token"]}))


@pytest.mark.timeout(200)
def test_an_open_watch_ends_with_its_token_on_another_node(guarded: GuardedTrio) -> None:
    leader, one, other = guarded.nodes()
    user = guarded.user(leader)
    headers = bearer(guarded.log_in(one, user)["token"])
    until(everywhere([one], headers, 200), "the node to know the token", SOON_S)
    with Stream(one.port, "/kv/watch/guarded/**", headers) as stream:
        assert stream.status == 200
        guarded.by_admin(other, "PUT", "/kv/guarded/a", {"value": "1"})
        assert stream.event().data["key"] == "guarded/a"
        guarded.by_admin(other, "POST", f"/auth/users/{user}/disable")
        end = stream.rest()[-1]
        assert (end.event, b"token revoked" in end.raw) == ("error", True)


@pytest.mark.timeout(200)
def test_a_killed_leader_takes_no_identity_along(guarded: GuardedTrio) -> None:
    nodes = guarded.nodes()
    user = guarded.user(nodes[0])
    held, ended = guarded.log_in(nodes[0], user), guarded.log_in(nodes[1], user)
    assert nodes[2].ask("POST", "/auth/logout", None, bearer(ended["token"])).status == 200
    nodes[0].kill()
    guarded.cluster.until_leader(besides=nodes[0])
    guarded.cluster.heal()
    until(everywhere(nodes, bearer(held["token"]), 200), "every node to know the login", SOON_S)
    until(everywhere(nodes, bearer(ended["token"]), 401), "every node to refuse what has ended", SOON_S)
    answer = nodes[0].ask("POST", "/auth/refresh", {"refresh_token": held["refresh_token"]})
    assert answer.status == 200, answer.body


def _refused(answer: Answer) -> bool:
    return (answer.status, answer.json()) == (401, {"error": "invalid refresh token"})
