"""Policies from a directory: taken whole or not at all, and never from outside it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from konsul.engine import Access, Engine, Options
from konsul.features.acl.book import PolicyBook
from konsul.features.acl.directory import FILES_MAX, DirectoryUnreadable, PolicyDirectory
from konsul.features.acl.policy import DOCUMENT_MAX_BYTES


def written(directory: Path, file: str, name: str, *paths: str) -> Path:
    """A policy that lets read these paths."""
    rules = [{"path": path, "capabilities": ["read"]} for path in paths]
    target = directory / file
    target.write_text(json.dumps({"name": name, "kv": rules}))
    return target


@pytest.fixture
def book(tmp_path: Path) -> PolicyBook:
    """The policies of a node that was not started, so that it has none of the API."""
    (tmp_path / "policies").mkdir()
    return opened(tmp_path / "policies")


def opened(directory: Path, **changes: Any) -> PolicyBook:
    engine = Engine(Options(data_dir=str(directory.with_name("data")), backend="memory"))
    return PolicyBook(engine, Access(), str(directory), **{"default_allow": False, **changes})


def may_read(book: PolicyBook, policy: str, path: str) -> bool:
    return book.access.grant([policy]).decide("kv:read", path)[0] == 1


def test_what_is_there_is_in_force_and_what_changes_is_taken_over(book: PolicyBook) -> None:
    directory = Path(book.directory)
    written(directory, "a.json", "dev", "app/**")
    written(directory, "b.json", "ops", "ops/**")
    (directory / "notes.txt").write_text("no policy")
    assert book.reload_directory()
    assert book.names() == {"dev": "directory", "ops": "directory"}
    assert may_read(book, "dev", "app/x")
    assert not may_read(book, "dev", "ops/x")
    assert not book.reload_directory(), "nothing changed"

    written(directory, "a.json", "dev", "web/**")
    (directory / "b.json").unlink()
    assert book.reload_directory()
    assert book.names() == {"dev": "directory"}
    assert may_read(book, "dev", "web/x")
    assert not may_read(book, "dev", "app/x")


def test_a_bad_file_leaves_everything_as_it_was(book: PolicyBook) -> None:
    directory = Path(book.directory)
    written(directory, "a.json", "dev", "app/**")
    book.reload_directory()
    written(directory, "a.json", "dev", "web/**")
    bad = directory / "b.json"
    bad.write_text('{"name":"ops","kv":[{"path":"a","capabilities":["reed"]}]}')
    assert not book.reload_directory()
    assert may_read(book, "dev", "app/x")
    assert not may_read(book, "dev", "web/x")
    assert book.load_errors == 1
    assert book.wrong == {
        "b.json": 'kv[0].capabilities[0] is "reed": expected read, write, list, delete or deny'
    }
    assert not book.reload_directory()
    assert book.load_errors == 1, "the same content is reported once"
    bad.unlink()
    assert book.reload_directory()
    assert may_read(book, "dev", "web/x")
    assert book.wrong == {}


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("{", "b"),
        ('{"name":"ops","kv":[{"path":"a","capabilities":["reed"]}]}', "ops"),
        ('{"name":"../x"}', "b"),
    ],
)
def test_at_the_start_what_can_be_used_is_used_and_the_rest_denies(
    book: PolicyBook, content: str, name: str
) -> None:
    written(Path(book.directory), "a.json", "dev", "app/**")
    (Path(book.directory) / "b.json").write_text(content)
    assert book.reload_directory()
    assert book.names() == {name: "directory", "dev": "directory"}
    assert book.load_errors == 1
    assert may_read(book, "dev", "app/x")
    assert book.access.grant(["dev", name]).decide("kv:read", "app/x")[0] == 0, "its denials are not lost"
    (Path(book.directory) / "b.json").unlink()
    assert book.reload_directory()
    assert book.names() == {"dev": "directory"}
    assert book.access.grant(["dev", name]).decide("kv:read", "app/x")[0] == 1


def test_of_two_files_with_one_name_the_first_is_taken(book: PolicyBook) -> None:
    written(Path(book.directory), "a.json", "dev", "a/**")
    written(Path(book.directory), "b.json", "dev", "b/**")
    book.reload_directory()
    assert may_read(book, "dev", "a/x")
    assert not may_read(book, "dev", "b/x")
    assert book.wrong == {"b.json": "the policy dev is already in a.json"}


def test_a_link_out_of_the_directory_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "policies"
    directory.mkdir()
    written(tmp_path, "outside.json", "stolen", "**")
    (directory / "a.json").symlink_to(tmp_path / "outside.json")
    (directory / "b.json").symlink_to(directory / ".." / "outside.json")
    (directory / "out").symlink_to(tmp_path)
    (directory / "c.json").symlink_to(directory / "out" / "outside.json")
    (directory / "d.json").symlink_to(directory / "d.json")
    (directory / "e.json").symlink_to(directory / "nothing")
    found = PolicyDirectory(str(directory)).read()
    assert found.policies == {}
    assert set(found.wrong) == {"a.json", "b.json", "c.json", "d.json", "e.json"}
    assert found.wrong["a.json"] == found.wrong["c.json"] == "it leads out of the directory"


def test_a_mounted_config_map_is_read(book: PolicyBook) -> None:
    """Kubernetes: `dev.json -> ..data/dev.json`, `..data -> ..2026_1`; an update swaps the inner link."""
    directory = Path(book.directory)
    for version, path in (("..2026_1", "app/**"), ("..2026_2", "web/**")):
        (directory / version).mkdir()
        written(directory / version, "dev.json", "dev", path)
    (directory / "..data").symlink_to("..2026_1")
    (directory / "dev.json").symlink_to("..data/dev.json")
    assert book.reload_directory()
    assert may_read(book, "dev", "app/x")
    (directory / "..swap").symlink_to("..2026_2")
    os.replace(directory / "..swap", directory / "..data")
    assert book.reload_directory()
    assert may_read(book, "dev", "web/x")


def test_only_files_of_a_sensible_kind_and_size_are_read(book: PolicyBook) -> None:
    directory = Path(book.directory)
    (directory / "a.json").write_bytes(b" " * (DOCUMENT_MAX_BYTES + 1))
    (directory / "b.json").mkdir()
    os.mkfifo(directory / "c.json")
    written(directory, "d.json", "open", "**").chmod(0o666)
    book.reload_directory()
    assert book.names() == dict.fromkeys("abcd", "directory"), "closed ones"
    assert not may_read(book, "d", "x")
    assert book.wrong == {
        "d.json": "everybody may change it: run chmod o-w",
        "a.json": f"the document is over {DOCUMENT_MAX_BYTES} bytes",
        "b.json": "it is no file",
        "c.json": "it is no file",
    }


def test_there_is_a_most_of_files(book: PolicyBook) -> None:
    for number in range(FILES_MAX + 1):
        written(Path(book.directory), f"{number:04}.json", f"p{number}", "a")
    book.reload_directory()
    assert len(book.names()) == FILES_MAX
    assert list(book.wrong) == [f"{FILES_MAX:04}.json"]


def test_no_directory_is_no_policies_and_a_warning_if_it_was_asked_for(tmp_path: Path) -> None:
    expected, by_default = opened(tmp_path / "none"), opened(tmp_path / "none", expected=False)
    for book, errors in ((expected, 1), (by_default, 0)):
        assert not book.reload_directory()
        assert not book.reload_directory()
        assert (book.names(), book.load_errors) == ({}, errors)
    with pytest.raises(DirectoryUnreadable, match="No such file"):
        PolicyDirectory(str(tmp_path / "none")).marks()
    (tmp_path / "none").mkdir()
    written(tmp_path / "none", "a.json", "dev", "app/**")
    assert expected.reload_directory()
    assert by_default.reload_directory()


def test_a_directory_that_goes_away_leaves_its_policies_in_force(book: PolicyBook) -> None:
    file = written(Path(book.directory), "a.json", "dev", "app/**")
    book.reload_directory()
    file.unlink()
    Path(book.directory).rmdir()
    assert not book.reload_directory()
    assert may_read(book, "dev", "app/x")
    assert book.wrong == {"": "No such file or directory"}
