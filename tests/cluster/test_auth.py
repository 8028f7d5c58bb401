"""Who calls, known by every node: what one node takes away the others refuse, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.ask import Answer
from tests.cluster.harness.guarded import PASSWORD, GuardedTrio, bearer
from tests.cluster.harness.node import Node
from tests.doors.streams import Stream
from tests.waiting import until

SOON_S = 30.0
"""How long a test waits at most; the nodes take milliseconds."""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedTrio]:
    """One cluster for the tests of this file."""
    trio = GuardedTrio(tmp_path_factory.mktemp("guarded"))
    nodes = trio.cluster.nodes.values()
    with trio.cluster:
        until(lambda: all(_status(node, trio.admin) == 200 for node in nodes), "the first token")
        yield trio


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
