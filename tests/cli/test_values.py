"""Values and lists from arguments, standard input and files."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from konsul.cli import values
from konsul.cli.values import Item
from konsul.errors import Invalid


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def given(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_a_value_from_each_source(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "f").write_bytes(b"\x00\xff")
    given(monkeypatch, b"in\n")
    assert values.value("text", None) == b"text"
    assert values.value("", None) == b""
    assert values.value("@f", None) == b"\x00\xff"
    assert values.value(None, "f") == b"\x00\xff"
    assert values.value("-", None) == b"in\n"
    assert values.value(os.fsdecode(b"\xff"), None) == b"\xff"


@pytest.mark.parametrize(
    ("argument", "file"), [(None, None), ("a", "f"), ("@absent", None), (None, "absent")]
)
def test_a_value_without_a_source(folder: Path, argument: str | None, file: str | None) -> None:
    with pytest.raises(Invalid):
        values.value(argument, file)


EXPECTED = [Item("a", b"1"), Item("b/c", b"x=y")]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("f.json", '{"a": "1", "b/c": "x=y"}', EXPECTED),
        ("f.json", '{"items": {"a": "1", "b/c": "x=y"}}', EXPECTED),
        ("f.json", '{"kv": {"a": "1", "b/c": "x=y"}, "services": {}}', EXPECTED),
        ("f.json", '[{"key": "a", "value": "1"}, {"key": "b/c", "value": "x=y"}]', EXPECTED),
        ("f.yaml", "a: '1'\nb/c: x=y\n", EXPECTED),
        ("f.yml", "- {key: a, value: '1'}\n- {key: b/c, value: x=y}\n", EXPECTED),
        ("f", '{"key": "a", "value": "1"}\n{"key": "b/c", "value": "x=y"}\n', EXPECTED),
        ("f", '{"key": "a", "value": "1"}', EXPECTED[:1]),
        ("f", '{"a": "1", "b/c": "x=y"}', EXPECTED),
        ("f.env", "# comment\na=1\n\nb/c=x=y\n", EXPECTED),
        (
            "f.json",
            '{"n": 5, "f": 1.5, "t": true, "z": null}',
            [Item("n", b"5"), Item("f", b"1.5"), Item("t", b"true"), Item("z", b"")],
        ),
        (
            "f.json",
            '[{"key": "a", "value": "/w==", "encoding": "base64", "flags": 7}]',
            [Item("a", b"\xff", 7)],
        ),
        ("f", "", []),
    ],
)
def test_items_from_each_form(folder: Path, name: str, content: str, expected: list[Item]) -> None:
    (folder / name).write_text(content)
    assert values.items(name) == expected


@pytest.mark.parametrize(
    ("name", "content", "where"),
    [
        ("f.json", "{", "f.json is not valid JSON"),
        ("f.yaml", "a: [", "f.yaml is not valid YAML"),
        ("f.json", '{"a": {"b": 1}}', "key 'a'"),
        ("f.json", '["a"]', "f.json entry 1"),
        ("f.json", '[{"key": 1}]', "f.json entry 1"),
        ("f.json", '[{"key": "a", "value": "%", "encoding": "base64"}]', "not base64"),
        ("f.json", '[{"key": "a", "value": "1", "flags": "x"}]', "flags"),
        ("f", "a=1\nb\n", "f line 2"),
        ("f", "=1\n", "f line 1"),
        ("f", '{"key": "a", "value": "1"}\n{"key": "b", "value": "1"}\n{"key": \n', "f line 3"),
    ],
)
def test_what_cannot_be_read_is_named(folder: Path, name: str, content: str, where: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(Invalid, match=where):
        values.items(name)


def test_items_must_be_text(folder: Path) -> None:
    (folder / "f").write_bytes(b"a=\xff")
    with pytest.raises(Invalid, match="UTF-8"):
        values.items("f")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("f", "a\n# comment\n\n b \n"),
        ("f.json", '["a", "b"]'),
        ("f.json", '{"a": 1, "b": 2}'),
        ("f.yaml", "[a, b]"),
    ],
)
def test_names_from_each_form(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    assert values.names((), name) == ["a", "b"]
    assert values.names(["x"], None) == ["x"]
    for arguments, path in (((), None), (["x"], name)):
        with pytest.raises(Invalid):
            values.names(arguments, path)


def test_a_single_exported_line_is_one_entry(folder: Path) -> None:
    (folder / "f").write_text('{"key": "a", "value": "/w==", "encoding": "base64", "flags": 7}\n')
    assert values.items("f") == [Item("a", b"\xff", 7)]


def test_only_a_newline_ends_a_line(folder: Path) -> None:
    odd = "x\u2028y\u0085z"
    (folder / "f").write_bytes(f'{{"key": "a", "value": "{odd}"}}\r\n{{"key": "b", "value": "1"}}'.encode())
    assert values.items("f") == [Item("a", odd.encode()), Item("b", b"1")]
    (folder / "g").write_bytes(f"a={odd}\r\nb=1\r\n".encode())
    assert values.items("g") == [Item("a", odd.encode()), Item("b", b"1")]
