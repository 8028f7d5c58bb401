"""Values and lists from arguments, standard input and files."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from konsul.errors import Invalid

STDIN = "-"
ENTRY = {"key", "value", "encoding", "flags"}


@dataclass(frozen=True, slots=True)
class Item:
    """One key to write. `flags` None leaves them."""

    key: str
    value: bytes
    flags: int | None = None


def value(argument: str | None, file: str | None) -> bytes:
    """The bytes a command line means: `-` is standard input, `@FILE` and `--file FILE` a file, else the
    text itself.

    Raises Invalid for no source, two sources, and a file that cannot be read.
    """
    if (argument is None) == (file is None):
        raise Invalid("give exactly one of VALUE and --file")
    if file is not None:
        return read(file)
    text = argument or ""
    if text == STDIN or text.startswith("@"):
        return read(text.removeprefix("@"))
    return os.fsencode(text)


def read(path: str) -> bytes:
    """A file's bytes, or standard input's for `-`. Raises Invalid when it cannot be read."""
    if path == STDIN:
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as cause:
        raise Invalid(f"cannot read {path}: {cause.strerror}") from cause


def items(path: str) -> list[Item]:
    """Keys and values from a file or `-`: a mapping or a list of entries in JSON or YAML (by the file's
    name), entries as JSON lines, or KEY=VALUE lines.

    Raises Invalid, naming the line or entry, for anything else.
    """
    return list(_items(path, read(path)))


def pairs(arguments: Iterable[str]) -> list[Item]:
    """Keys and values from `KEY=VALUE` arguments."""
    return [_pair(argument, "argument") for argument in arguments]


def names(arguments: Iterable[str], path: str | None) -> list[str]:
    """Names from arguments, or from a file: a JSON or YAML list (of a mapping its keys), or one per line.

    Raises Invalid for neither or both.
    """
    given = list(arguments)
    if bool(given) == bool(path):
        raise Invalid("give names as arguments, or --file FILE (- is standard input)")
    if path is None:
        return given
    text = _text(path, read(path))
    document = _document(path, text)
    if isinstance(document, (dict, list)):
        return [str(one["key"]) if isinstance(one, dict) and "key" in one else str(one) for one in document]
    return [line.strip() for line in _lines(text) if line.strip() and not line.startswith("#")]


def parted(given: Iterable[str] | None) -> list[str] | None:
    """The items of a flag that may stand several times, each also several with commas; None: not given."""
    if not given:
        return None
    return [item.strip() for one in given for item in one.split(",") if item.strip()]


def meant(question: str) -> bool:
    """Asks on standard error; True for yes or y. Raises Invalid when nobody answers."""
    print(f"{question} (yes/no): ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer:
        print(file=sys.stderr)
        raise Invalid("nobody answered; --yes goes on without asking")
    return answer.strip().lower() in ("yes", "y")


def exported(entry: Any) -> dict[str, Any]:
    """A stored key as one entry of an export; bytes that are no text as base64."""
    document: dict[str, Any] = {"key": entry.key, **text_or_base64(entry.value)}
    if entry.flags:
        document["flags"] = entry.flags
    return document


def text_or_base64(value: bytes) -> dict[str, str]:
    """A value as JSON can carry it."""
    try:
        return {"value": value.decode()}
    except UnicodeDecodeError:
        return {"value": base64.b64encode(value).decode(), "encoding": "base64"}


def _items(path: str, source: bytes) -> Iterator[Item]:
    text = _text(path, source)
    lines = _lines(text)
    if len(lines) > 1 and all(line.startswith("{") and line.endswith("}") for line in lines[:2]):
        for n, line in enumerate(lines, 1):
            if line.strip():
                yield _entry(_json(line, f"{path} line {n}"), f"{path} line {n}")
        return
    document = _document(path, text)
    if isinstance(document, list):
        yield from (_entry(one, f"{path} entry {n}") for n, one in enumerate(document, 1))
    elif isinstance(document, dict):
        yield from _mapping(path, document)
    else:
        for n, line in enumerate(lines, 1):
            if line.strip() and not line.startswith("#"):
                yield _pair(line, f"{path} line {n}")


def _mapping(path: str, document: dict[str, Any]) -> Iterator[Item]:
    if {"key", "value"} <= set(document) <= ENTRY:
        yield _entry(document, path)
        return
    inner = document.get("kv", document.get("items"))
    for key, one in (inner if isinstance(inner, dict) else document).items():
        yield Item(str(key), _value(one, f"{path}, key {key!r}"))


def _document(path: str, text: str) -> Any:
    """The document in `text`, or None when it is plain lines: the file's name says it, else its first
    characters."""
    if path.endswith((".yaml", ".yml")):
        return _yaml(path, text)
    if path.endswith(".json") or text.lstrip()[:1] in ("{", "["):
        return _json(text, path)
    return None


def _lines(text: str) -> list[str]:
    # Not splitlines: an exported value may hold U+2028 and its like, which end no line of a file.
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as cause:
        raise Invalid(f"{where} is not valid JSON: {cause}") from cause


def _yaml(path: str, text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as cause:
        raise Invalid(f"{path} is not valid YAML: {cause}") from cause


def _entry(one: Any, where: str) -> Item:
    if not isinstance(one, dict) or not isinstance(one.get("key"), str):
        raise Invalid(f"{where} is not an entry with a key and a value")
    flags = one.get("flags")
    if flags is not None and (not isinstance(flags, int) or isinstance(flags, bool)):
        raise Invalid(f"{where}: flags must be a whole number")
    content = one.get("value", "")
    if one.get("encoding") == "base64":
        try:
            return Item(one["key"], base64.b64decode(content, validate=True), flags)
        except (TypeError, ValueError) as cause:
            raise Invalid(f"{where}: the value is not base64: {cause}") from cause
    return Item(one["key"], _value(content, where), flags)


def _value(one: Any, where: str) -> bytes:
    if isinstance(one, str):
        return one.encode()
    if one is None or isinstance(one, (bool, int, float)):
        # Scalars keep their JSON spelling: `port: 80` means the text 80.
        return b"" if one is None else json.dumps(one).encode()
    raise Invalid(f"{where}: the value must be text or a number, not {type(one).__name__}")


def _pair(text: str, where: str) -> Item:
    key, equals, content = text.partition("=")
    if not equals or not key.strip():
        raise Invalid(f"{where}: {text!r} is not KEY=VALUE")
    return Item(key.strip(), os.fsencode(content))


def _text(path: str, source: bytes) -> str:
    try:
        return source.decode()
    except UnicodeDecodeError as cause:
        raise Invalid(f"{path} is not UTF-8 text: {cause}") from cause
