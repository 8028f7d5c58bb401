"""Policies on every node: what is stored on one decides on all, what is in a node's directory only there."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.harness.guarded import GuardedTrio, bearer
from tests.cluster.harness.node import Node
from tests.doors.streams import Stream
from tests.waiting import until

READ_APP = [{"path": "app/**", "capabilities": ["read", "list"]}]
SOON_S = 30.0
"""How long a test waits at most; the nodes take milliseconds."""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedTrio]:
    """One cluster for the tests of this file; each node has a directory of policies."""
    trio = GuardedTrio(tmp_path_factory.mktemp("acl"), {"KONSUL_ACL_ENABLED": "true"})
    for node in trio.cluster.nodes.values():
        directory_of(node).mkdir()
        node.settings["KONSUL_ACL_POLICY_DIR"] = str(directory_of(node))
    with trio.cluster:
        until(lambda: statuses(trio.nodes(), "app/a", trio.admin) == {404}, "the first token")
        trio.by_admin(trio.nodes()[0], "PUT", "/kv/app/a", {"value": "1"})
        yield trio


def directory_of(node: Node) -> Path:
    """A node's own policies."""
    return node.data_dir.parent / "policies"


def statuses(nodes: list[Node], key: str, headers: dict[str, str]) -> set[int]:
    """What reading a key is answered with, by all of them."""
    return {node.ask("GET", f"/kv/{key}", None, headers).status for node in nodes}


def until_decided(nodes: list[Node], headers: dict[str, str], status: int) -> None:
    """Waits until all of them answer so."""
    until(lambda: statuses(nodes, "app/a", headers) == {status}, f"{status} from every node", SOON_S)


def caller(trio: GuardedTrio, policy: str) -> dict[str, str]:
    """The headers of a new user with one policy."""
    leader = trio.nodes()[0]
    user = trio.user(leader)
    trio.by_admin(leader, "PUT", f"/auth/users/{user}", {"policies": [policy]})
    return bearer(trio.log_in(leader, user)["token"])


@pytest.mark.timeout(200)
def test_what_is_stored_on_one_node_decides_on_all(guarded: GuardedTrio) -> None:
    nodes = guarded.nodes()
    name = f"p-{secrets.token_hex(4)}"
    headers = caller(guarded, name)
    until_decided(nodes, headers, 403)
    for writer, allowed in zip(nodes, (True, False, True), strict=True):
        rules = READ_APP if allowed else [*READ_APP, {"path": "app/a", "capabilities": ["deny"]}]
        body = {"name": name, "kv": rules}
        if writer is nodes[0]:
            guarded.by_admin(writer, "POST", "/acl/policies", body)
        else:
            guarded.by_admin(writer, "PUT", f"/acl/policies/{name}", body)
        # Whoever changed it on a node may count on it there at once, elsewhere a moment later.
        wanted = 200 if allowed else 403
        assert statuses([writer], "app/a", headers) == {wanted}
        until_decided(nodes, headers, wanted)
    guarded.by_admin(nodes[2], "DELETE", f"/acl/policies/{name}")
    until_decided(nodes, headers, 403)


@pytest.mark.timeout(200)
def test_an_open_watch_is_told_nothing_any_more(guarded: GuardedTrio) -> None:
    leader, follower, other = guarded.nodes()
    name = f"p-{secrets.token_hex(4)}"
    guarded.by_admin(leader, "POST", "/acl/policies", {"name": name, "kv": READ_APP})
    headers = caller(guarded, name)
    until(lambda: statuses([follower], "app/a", headers) == {200}, "the follower to allow", SOON_S)
    with Stream(follower.port, "/kv/watch/app/**", headers) as stream:
        guarded.by_admin(leader, "PUT", "/kv/app/seen", {"value": "1"})
        assert stream.event().data["key"] == "app/seen"
        narrower = [*READ_APP, {"path": "app/hidden", "capabilities": ["deny"]}]
        guarded.by_admin(other, "PUT", f"/acl/policies/{name}", {"name": name, "kv": narrower})
        until(lambda: statuses([follower], "app/hidden", headers) == {403}, "the follower to refuse", SOON_S)
        guarded.by_admin(leader, "PUT", "/kv/app/hidden", {"value": "1"})
        guarded.by_admin(leader, "PUT", "/kv/app/seen", {"value": "2"})
        told = stream.event().data
        assert (told["key"], told["value"]) == ("app/seen", "2")


@pytest.mark.timeout(200)
def test_a_directory_is_each_nodes_own(guarded: GuardedTrio) -> None:
    nodes = guarded.nodes()
    name = f"p-{secrets.token_hex(4)}"
    headers = caller(guarded, name)
    file = directory_of(nodes[1]) / "own.json"
    file.write_text(json.dumps({"name": name, "kv": READ_APP}))
    until_decided([nodes[1]], headers, 200)
    assert statuses([nodes[0], nodes[2]], "app/a", headers) == {403}
    # The API's, of the same name, wins everywhere, and the file comes back when it is gone.
    denied = {"name": name, "kv": [{"path": "**", "capabilities": ["deny"]}]}
    guarded.by_admin(nodes[0], "POST", "/acl/policies", denied)
    until_decided(nodes, headers, 403)
    assert "the API has this policy" in nodes[1].output()
    guarded.by_admin(nodes[0], "DELETE", f"/acl/policies/{name}")
    until_decided([nodes[1]], headers, 200)
    file.unlink()


@pytest.mark.timeout(200)
def test_a_node_that_starts_again_has_every_policy_before_it_serves(guarded: GuardedTrio) -> None:
    nodes = guarded.nodes()
    name = f"p-{secrets.token_hex(4)}"
    guarded.by_admin(nodes[0], "POST", "/acl/policies", {"name": name, "kv": READ_APP})
    headers = caller(guarded, name)
    until_decided(nodes, headers, 200)
    nodes[2].kill()
    nodes[2].start()
    assert statuses([nodes[2]], "app/a", headers) <= {200, 503}
    until_decided([nodes[2]], headers, 200)
