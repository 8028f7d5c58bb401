"""The policies in force: the API's and the directory's together, whatever is wrong with one of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import msgpack
import pytest

from konsul.engine import Access, Engine
from konsul.errors import NoLeader
from konsul.features.acl.book import PolicyBook
from konsul.features.acl.documents import checked
from konsul.features.acl.policy import ALL_RULES_MAX, POLICIES_MAX, RULES_MAX, SELECTORS


class Tables:
    """The rows of an engine, as packed as they come."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.index = 0
        self.is_there = True

    def put(self, name: str, document: object) -> None:
        self.index += 1
        text = document if isinstance(document, bytes) else json.dumps(document).encode()
        head = (1).to_bytes(8) + self.index.to_bytes(8)
        self.rows[name.encode()] = head + msgpack.packb(text)

    def scan_packed(self, _table: int, limit: int) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        if not self.is_there:
            raise NoLeader("this node has no tables yet")
        return sorted(self.rows.items())[:limit], None


def reading(path: str) -> list[dict[str, Any]]:
    return [{"path": path, "capabilities": ["read"]}]


@pytest.fixture
def tables() -> Tables:
    return Tables()


@pytest.fixture
def book(tables: Tables, tmp_path: Path) -> PolicyBook:
    (tmp_path / "policies").mkdir()
    return PolicyBook(cast(Engine, tables), Access(), str(tmp_path / "policies"), default_allow=False)


def may_read(book: PolicyBook, policy: str, path: str) -> bool:
    return book.access.grant([policy]).decide("kv:read", path)[0] == 1


def file(book: PolicyBook, name: str, path: str) -> Path:
    target = Path(book.directory) / f"{name}.json"
    target.write_text(json.dumps({"name": name, "kv": reading(path)}))
    return target


def test_what_the_tables_hold_is_in_force(book: PolicyBook, tables: Tables) -> None:
    tables.put("dev", {"name": "dev", "kv": reading("app/**")})
    assert book.reload_rows()
    assert book.names() == {"dev": "api"}
    assert may_read(book, "dev", "app/x")
    tables.put("dev", {"name": "dev", "kv": reading("web/**")})
    assert book.reload_rows()
    assert (may_read(book, "dev", "app/x"), may_read(book, "dev", "web/x")) == (False, True)
    tables.rows.clear()
    assert book.reload_rows()
    assert book.names() == {}
    assert not may_read(book, "dev", "web/x")


def test_tables_that_cannot_be_read_change_nothing(book: PolicyBook, tables: Tables) -> None:
    tables.put("dev", {"name": "dev", "kv": reading("app/**")})
    book.reload_rows()
    tables.is_there = False
    assert not book.reload_rows()
    assert may_read(book, "dev", "app/x")


def test_of_one_name_the_stored_one_counts(
    book: PolicyBook, tables: Tables, capfd: pytest.CaptureFixture[str]
) -> None:
    path = file(book, "dev", "file/**")
    tables.put("dev", {"name": "dev", "kv": reading("stored/**")})
    book.reload_directory()
    assert may_read(book, "dev", "file/x")
    assert book.is_of_directory("dev")
    book.reload_rows()
    assert "the API has this policy" in "".join(capfd.readouterr())
    assert (may_read(book, "dev", "file/x"), may_read(book, "dev", "stored/x")) == (False, True)
    assert book.names() == {"dev": "api"}
    assert not book.is_of_directory("dev")
    found = book.get("dev")
    assert found is not None
    assert found[1] == "api"
    book.reload_rows()
    assert "the API has this policy" not in "".join(capfd.readouterr()), "it is said once"
    tables.rows.clear()
    book.reload_rows()
    assert may_read(book, "dev", "file/x")
    path.unlink()
    book.reload_directory()
    assert book.get("dev") is None


@pytest.mark.parametrize(
    "document", [b"", b"{", {"name": "dev", "planets": []}, {"name": "dev", "kv": [{"path": "a"}]}]
)
def test_a_stored_policy_that_is_not_understood_denies_everything(
    book: PolicyBook, tables: Tables, document: object
) -> None:
    tables.put("dev", document)
    tables.put("app", {"name": "app", "kv": reading("**")})
    file(book, "dev", "**")
    book.reload_directory()
    book.reload_rows()
    assert may_read(book, "app", "x")
    grant = book.access.grant(["app", "dev"])
    for resource in SELECTORS:
        needs = f"{resource}:{'create' if resource == 'backup' else 'read'}"
        assert grant.decide(needs, "x")[0] == 0, needs
    assert book.load_errors == 1
    book.reload_rows()
    assert book.load_errors == 1, "an unchanged row is read once"


def test_what_is_beyond_the_limit_is_left_out_files_first(book: PolicyBook, tables: Tables) -> None:
    file(book, "zz-file", "**")
    book.reload_directory()
    for number in range(POLICIES_MAX):
        tables.put(f"p{number}", {"name": f"p{number}", "kv": reading("**")})
    book.reload_rows()
    assert all(may_read(book, f"p{number}", "x") for number in range(POLICIES_MAX))
    assert not may_read(book, "zz-file", "x")
    assert book.load_errors == 1


def test_there_is_a_most_of_rules_together(book: PolicyBook, tables: Tables) -> None:
    rules = reading("**") * RULES_MAX
    for number in range(ALL_RULES_MAX // RULES_MAX):
        assert book.has_room_for(checked({"name": f"p{number:03}", "kv": rules}))
        tables.put(f"p{number:03}", {"name": f"p{number:03}", "kv": rules})
        book.reload_rows()
    assert not book.has_room_for(checked({"name": "more", "kv": reading("**")}))
    assert book.has_room_for(checked({"name": "p000", "kv": rules})), "one of them may be replaced"
    tables.put("zz", {"name": "zz", "kv": reading("**")})
    book.reload_rows()
    assert (may_read(book, "p000", "x"), may_read(book, "zz", "x"), book.load_errors) == (True, False, 1)


def test_a_look_from_another_thread_changes_nothing_until_it_is_taken(book: PolicyBook) -> None:
    file(book, "dev", "app/**")
    looked = book.look()
    assert book.names() == {}
    assert book.take(looked)
    assert book.names() == {"dev": "directory"}
    assert book.look() is None
    assert not book.take(None)
