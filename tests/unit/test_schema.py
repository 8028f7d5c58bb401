"""Table declarations: what they compile to, and what the lock file holds them to."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from konsul.errors import Invalid, TooLarge
from konsul.kernel import entry
from konsul.kernel.schema import (
    Row,
    column,
    compile_schema,
    expires,
    index,
    json_column,
    key,
    lease,
    ref,
    table,
)
from konsul.kernel.schema_lock import breaks, describe, missing


@table("nodes", id=7)
class Node(Row):
    """A parent."""

    name: str = key()
    status: str = index(default="passing")
    behaviour: str = "release"


@table("holds", id=9, keep=100)
class Hold(Row):
    """A child with one column of each kind."""

    id: str = key()
    node: str | None = ref(
        Node,
        then={"release": [], "delete": []},
        breaks_when=("status", "critical"),
        choose_by="behaviour",
    )
    count: int = 0
    delta: int = column(kind="i64", default=0)
    on: bool = False
    raw: bytes = b""
    tags: list[str] = index(each=True, default=[])
    meta: dict[str, str] = index(each=True, default={})
    serial: str = index(unique=True)
    checks: bytes | None = json_column()
    until_ms: int | None = expires()
    ttl_ms: int | None = lease()


def test_a_declaration_compiles_to_the_schema_format() -> None:
    nodes, holds = msgpack.unpackb(compile_schema([Hold, Node]))
    assert (nodes["id"], nodes["name"], nodes["keep"]) == (7, "nodes", None)
    assert [(c["name"], c["kind"], c["index"]) for c in holds["columns"]] == [
        ("node", "text", "single"),
        ("count", "u64", "none"),
        ("delta", "i64", "none"),
        ("on", "bool", "none"),
        ("raw", "bytes", "none"),
        ("tags", "list", "each"),
        ("meta", "map", "each"),
        ("serial", "text", "unique"),
        ("checks", "json", "none"),
        ("until_ms", "u64", "none"),
        ("ttl_ms", "u64", "none"),
    ]
    assert (holds["expires"], holds["lease"], holds["keep"]) == (9, 10, 100)
    assert holds["refs"] == [
        {
            "column": 0,
            "parent": 7,
            "each": False,
            "breaks_when": [0, "critical"],
            "choose_by": 1,
            "then": [["release", []], ["delete", []]],
        }
    ]


def test_equal_declarations_give_equal_bytes_in_any_order() -> None:
    assert compile_schema([Hold, Node]) == compile_schema([Node, Hold])


def test_a_row_knows_its_cells_and_positions() -> None:
    node = Node(name="n1", status="critical")
    assert node.cells() == ["critical", "release"]
    assert Node.column("behaviour") == 1
    with pytest.raises(KeyError):
        Node.column("nothing")


def test_tables_may_not_share_an_id_or_a_name() -> None:
    @table("other", id=7)
    class Other(Row):
        name: str = key()

    with pytest.raises(TypeError, match="share the id 7"):
        compile_schema([Node, Other])


def test_a_column_needs_a_default_for_rows_older_than_it() -> None:
    with pytest.raises(TypeError, match="needs a default"):

        @table("strict", id=11)
        class Strict(Row):
            name: str = key()
            value: int


def test_an_entry_packs_guards_and_ops_in_wire_order() -> None:
    packed = entry.encode(
        [
            entry.case(
                [entry.absent(Node, "a"), entry.is_(Node, b"b", "status", "passing"), entry.at(Node, "c", 4)],
                [
                    entry.put(Node, "a", ["passing", entry.KEEP]),
                    entry.patch(Node, "b", {"behaviour": "delete"}),
                    entry.add(Hold, entry.INDEX, "count", 2, 10),
                    entry.delete(Node, "d"),
                    entry.delete_prefix(Node, "e/"),
                ],
            )
        ]
    )
    [[guards, ops]] = msgpack.unpackb(packed)
    assert guards == [[1, 7, "a"], [3, 7, b"b", 0, "passing"], [2, 7, "c", 4]]
    assert ops == [
        [0, 7, "a", ["passing", msgpack.ExtType(3, b"")]],
        [1, 7, "b", [[1, "delete"]]],
        [2, 9, msgpack.ExtType(1, b""), 1, 2, 10],
        [3, 7, "d"],
        [4, 7, "e/"],
    ]


def test_placeholders_are_the_format_s_ext_values() -> None:
    assert entry.now(-5) == msgpack.ExtType(2, (-5).to_bytes(8, signed=True))
    assert entry.parent(3, plus_now=True) == msgpack.ExtType(5, b"\x03\x01")


def test_an_entry_has_limits() -> None:
    with pytest.raises(Invalid):
        entry.encode([])
    with pytest.raises(TooLarge):
        entry.encode([entry.case([], [])] * (entry.MAX_CASES + 1))
    with pytest.raises(TooLarge):
        entry.encode([entry.case([], [entry.delete(Node, "a")] * (entry.MAX_STEPS + 1))])


def test_the_lock_allows_additions_at_the_end_only() -> None:
    locked = describe([Node])
    grown = copy.deepcopy(locked)
    grown["nodes"]["columns"].append(["zone", "text", ""])
    assert breaks(locked, grown) == []
    assert missing(locked, grown)
    changes: list[Callable[[dict[str, Any]], object]] = [
        lambda table: table["columns"].insert(0, ["zone", "text", ""]),
        lambda table: table["columns"].pop(),
        lambda table: table["columns"][0].__setitem__(1, "bytes"),
        lambda table: table["columns"][0].__setitem__(2, "warning"),
        lambda table: table.__setitem__("id", 8),
    ]
    for change in changes:
        changed = copy.deepcopy(locked)
        change(changed["nodes"])
        assert breaks(locked, changed), changed
    assert breaks(locked, {}) == [
        "table nodes is gone; its id 7 can never be used again, so keep it declared"
    ]
    assert breaks(locked, {**locked, "thieves": {"id": 7, "columns": []}}) == [
        "table thieves takes the id 7 of nodes"
    ]
