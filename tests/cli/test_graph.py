"""`konsulctl service graph`, `impact`, `dependencies`: trees by themselves, the rest through a server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from konsul.client import Client, Service
from konsul.features.dependencies.cli_graph import ASCII, UNICODE, trees
from tests.cli.console import Console
from tests.conftest import LiveServer

SHOP = {"web": ["api", "cart"], "api": ["db"], "cart": ["cache", "db"], "db": ["disk"]}


@pytest.fixture(autouse=True)
def shop(server: LiveServer) -> Iterator[None]:
    with Client(server.base_url) as client:
        for name, needed in SHOP.items():
            client.dependencies.replace(name, needed)
        client.services.register_many([Service("web", "h", 1), Service("web", "h", 2, "w2")])
        yield
        for one, _ in client.dependencies.graph().edges:
            client.dependencies.remove(one)
        client.services.deregister_all("web")


def tree(roots: list[str], needs: dict[str, list[str]], signs: tuple[str, ...] = ASCII) -> list[str]:
    return [f"{before}{name}{after}" for before, name, after in trees(roots, needs, signs)]


def test_what_was_drawn_is_not_drawn_again() -> None:
    assert tree(["web"], SHOP) == [
        "web",
        "|-- api",
        "|   `-- db",
        "|       `-- disk",
        "`-- cart",
        "    |-- cache",
        "    `-- db ...",
    ]


def test_a_long_chain_and_many_ways_end_soon() -> None:
    chain = {f"s{number}": [f"s{number + 1}"] for number in range(3_000)}
    assert len(tree(["s0"], chain)) == 3_001
    # Two ways from each level to the next: 2 ** 60 through all of them.
    ladder = {f"{side}{n}": [f"a{n + 1}", f"b{n + 1}"] for n in range(60) for side in "ab"}
    assert len(tree(["a0", "b0"], ladder)) == 2 + 60 * 4


def test_the_graph_is_a_tree_with_health(ctl: Console) -> None:
    assert ctl.ok("service", "graph").text.splitlines() == [
        "web passing",
        "├── api absent",
        "│   └── db absent",
        "│       └── disk absent",
        "└── cart absent",
        "    ├── cache absent",
        "    └── db absent …",
    ]
    said = ctl.ok("service", "graph", "cart", "--ascii")
    assert said.text.splitlines() == [
        "cart absent",
        "|-- cache absent",
        "`-- db absent",
        "    `-- disk absent",
    ]
    assert ctl.ok("service", "graph", "disk").text == "disk absent\n"
    said = ctl("service", "graph", "nobody")
    assert (said.code, said.errors) == (3, "Error getting dependency graph: service not found\n")


def test_the_graph_for_machines(ctl: Console) -> None:
    found = ctl.ok("service", "graph", "api", "--json").json()
    assert found == ctl.ok("service", "graph", "api", "--output", "json").json()
    assert [one["name"] for one in found["nodes"]] == ["api", "db", "disk"]
    assert found["edges"] == [{"from": "api", "to": "db"}, {"from": "db", "to": "disk"}]
    assert found["order"] == ["disk", "db", "api"]
    dot = ctl.ok("service", "graph", "api", "--dot").text
    assert dot.startswith("digraph services {\n")
    assert '  "api" -> "db";\n' in dot
    assert ctl("service", "graph", "--dot", "--json").code == 2
    table = ctl.ok("service", "graph", "api", "--output", "table").text.splitlines()
    assert [line.split() for line in table] == [["service", "needs"], ["api", "db"], ["db", "disk"]]


def test_the_impact_of_a_failure(ctl: Console) -> None:
    assert ctl.ok("service", "impact", "db").text.splitlines() == [
        "db: absent (no instances)",
        "Depend on it:",
        "  api   absent   no instances    directly",
        "  cart  absent   no instances    directly",
        "  web   passing  2 of 2 serving  over 2 steps",
        "It depends on:",
        "  disk  absent  no instances  directly",
    ]
    assert ctl.ok("service", "impact", "web").text.splitlines()[:2] == [
        "web: passing (2 of 2 serving)",
        "Depend on it: none",
    ]
    found = ctl.ok("service", "impact", "db", "--output", "json").json()
    assert [(one["name"], one["depth"]) for one in found["dependents"]] == [
        ("api", 1),
        ("cart", 1),
        ("web", 2),
    ]
    assert ctl("service", "impact", "nobody").code == 3


def test_dependencies_are_declared_and_taken_back(ctl: Console) -> None:
    assert ctl.ok("service", "dependencies", "get", "db").text == "Needs: disk\nNeeded by: api, cart\n"
    assert ctl.ok("service", "dependencies", "add", "db", "log").text == "db needs: disk, log\n"
    assert ctl.ok("service", "dependencies", "set", "db", "log").text == "db needs: log\n"
    said = ctl("service", "dependencies", "add", "db", "web")
    assert said.code == 4
    assert "dependency cycle: db -> web -> api -> db" in said.errors
    assert ctl.ok("service", "dependencies", "remove", "cart", "db", "x").text == "cart needs: cache\n"
    assert ctl.ok("service", "dependencies", "remove", "db").text == "db needs: nothing\n"
    found = ctl.ok("service", "dependencies", "get", "db", "--output", "json").json()
    assert found == {"service": "db", "dependencies": [], "dependents": ["api"]}
    assert ctl("service", "dependencies", "get", "nobody").code == 3


def test_a_registration_declares(ctl: Console) -> None:
    ctl.ok("service", "register", "web", "h", "1", "--depends-on", "api", "--depends-on", "mail")
    assert ctl.ok("service", "dependencies", "get", "web").text == "Needs: api, mail\nNeeded by: nothing\n"
    ctl.ok("service", "register", "web", "h", "1")
    assert ctl.ok("service", "dependencies", "get", "web").text == "Needs: api, mail\nNeeded by: nothing\n"
    said = ctl("service", "register", "db", "h", "1", "--depends-on", "web")
    assert (said.code, "dependency cycle: db -> web -> api -> db" in said.errors) == (4, True)
    assert ctl("service", "get", "db").code == 3


def test_nothing_declared_is_said(ctl: Console, server: LiveServer) -> None:
    with Client(server.base_url) as client:
        for name in SHOP:
            client.dependencies.remove(name)
    assert ctl.ok("service", "graph").text == "No dependencies declared\n"


def test_unicode_and_ascii_have_the_same_shape() -> None:
    assert [len(line) for line in tree(["web"], SHOP, UNICODE)[:-1]] == [
        len(line) for line in tree(["web"], SHOP, ASCII)[:-1]
    ]
