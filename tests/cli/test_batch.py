"""`konsulctl batch` through a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.console import Console


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("f.json", '{"b/1": "x", "b/2": "y"}'),
        ("f.json", '[{"key": "b/1", "value": "x"}, {"key": "b/2", "value": "y"}]'),
        ("f.yaml", "b/1: x\nb/2: y\n"),
        ("f.env", "b/1=x\nb/2=y\n"),
    ],
)
def test_set_get_and_delete_from_files(ctl: Console, tmp_path: Path, name: str, content: str) -> None:
    file = tmp_path / name
    file.write_text(content)
    assert ctl.ok("batch", "set", "--file", str(file)).text == "Successfully set 2 keys\n"
    assert ctl.ok("batch", "get", "b/1", "b/2").text == "b/1=x\nb/2=y\n"
    names = tmp_path / "names"
    names.write_text("b/1\nb/2\n")
    assert ctl.ok("batch", "get", "--file", str(names), "--output", "json").json() == {
        "found": {"b/1": {"value": "x"}, "b/2": {"value": "y"}},
        "not_found": [],
    }
    assert ctl.ok("batch", "delete", "--file", str(names)).text == "Successfully deleted 2 keys\n"
    assert ctl("batch", "get", "b/1").code == 3


def test_arguments_and_input(ctl: Console) -> None:
    assert ctl.ok("batch", "set", "c/1=a=b", "c/2=").text == "Successfully set 2 keys\n"
    assert ctl.ok("batch", "set", "--file", "-", stdin=b"c/3=d\n").text == "Successfully set 1 keys\n"
    assert (
        ctl.ok("batch", "get", "--file", "-", stdin=b'["c/1", "c/2", "c/3"]').text == "c/1=a=b\nc/2=\nc/3=d\n"
    )
    assert ctl.ok("batch", "delete", "c/1", "c/2", "c/3", "--output", "json").json() == {"count": 3}


def test_an_absent_key_is_code_3_and_the_rest_is_printed(ctl: Console) -> None:
    ctl.ok("batch", "set", "e/1=a")
    said = ctl("batch", "get", "e/1", "e/2")
    assert (said.code, said.text, said.errors) == (3, "e/1=a\n", "Error getting key: e/2: key not found\n")


def test_more_than_one_request_holds(ctl: Console) -> None:
    items = {f"big/{n}": "v" for n in range(2_345)}
    said = ctl.ok("batch", "set", "--file", "-", stdin=json.dumps(items).encode())
    assert said.text == "Successfully set 2345 keys\n"
    found = ctl.ok("batch", "get", "--file", "-", "--output", "json", stdin=json.dumps(items).encode()).json()
    assert len(found["found"]) == 2_345
    assert ctl.ok("batch", "delete", "--file", "-", stdin=json.dumps(list(items)).encode()).code == 0


def test_flags_of_an_entry_are_kept(ctl: Console) -> None:
    entries = [{"key": "fl/1", "value": "a", "flags": 9}, {"key": "fl/2", "value": "b"}]
    ctl.ok("batch", "set", "--file", "-", stdin=json.dumps(entries).encode())
    assert ctl.ok("kv", "get", "fl/1", "--output", "json").json()["flags"] == 9


@pytest.mark.parametrize(
    ("args", "stdin", "cause"),
    [
        (["set"], b"", "give KEY=VALUE arguments"),
        (["set", "a=1", "--file", "-"], b"", "give KEY=VALUE arguments"),
        (["set", "a"], b"", "is not KEY=VALUE"),
        (["set", "--file", "-"], b"", "there is nothing to set"),
        (["set", "--file", "absent"], b"", "cannot read absent"),
        (["set", "--file", "-"], b'{"a": [1]}', "must be text or a number"),
        (["get"], b"", "give names"),
        (["delete", "a", "--file", "-"], b"", "give names"),
        (["get", ""], b"", "server error"),
    ],
)
def test_refusals(ctl: Console, args: list[str], stdin: bytes, cause: str) -> None:
    said = ctl("batch", *args, stdin=stdin)
    assert (said.code, said.output) == (2, b"")
    assert cause in said.errors
