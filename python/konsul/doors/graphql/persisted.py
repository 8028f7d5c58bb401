"""Persisted documents: those an operator registered, and those clients registered by their SHA-256 (APQ)."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from konsul.doors.graphql.refusals import OK, Refused, bad_request, not_valid
from konsul.errors import StartFailed
from konsul.kernel.graphql_settings import GraphqlSettings

_SETTING: Final = "KONSUL_GRAPHQL_PERSISTED_DIR"
_FILES_MAX: Final = 10_000
_FILE_MAX_BYTES: Final = 16 << 20
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_FILE_KINDS: Final = ("*.graphql", "*.gql")


def hash_of(query: str) -> str:
    """The SHA-256 of a document's text, as clients send it."""
    return hashlib.sha256(query.encode("utf-8", "surrogatepass")).hexdigest()


def hash_in(extensions: object) -> str | None:
    """The hash a request names, or None. Raises Refused for one that cannot be understood."""
    asked = extensions.get("persistedQuery") if isinstance(extensions, dict) else None
    if asked is None:
        return None
    found = asked.get("sha256Hash") if isinstance(asked, dict) else None
    if not isinstance(found, str) or asked.get("version", 1) != 1 or not _SHA256.fullmatch(found.lower()):
        raise bad_request("extensions.persistedQuery needs version 1 and a sha256Hash of 64 hex digits")
    return found.lower()


class Persisted:
    """Finds a document by its hash. Registered ones stay; those of clients make room for newer ones."""

    def __init__(self, settings: GraphqlSettings) -> None:
        """Reads what the operator registered. Raises StartFailed for what cannot be read."""
        self._mode = settings.persisted_mode
        self._max, self._max_bytes = settings.persisted_max, settings.persisted_max_bytes
        self._registered: dict[str, str] = {}
        self._learned: OrderedDict[str, str] = OrderedDict()
        self._learned_bytes = 0
        if self._mode != "off" and settings.persisted_dir:
            for query in _read(Path(settings.persisted_dir)):
                # A file usually ends with a line feed that the client's text has not.
                for text in (query, query.strip()):
                    self._registered[hash_of(text)] = text
            if not self._registered:
                raise StartFailed(f"{_SETTING} {settings.persisted_dir} holds no document")

    def __len__(self) -> int:
        return len(self._registered) + len(self._learned)

    def find(self, query: str, wanted: str | None) -> str:
        """The text to execute, from the text and the hash of a request. Raises Refused."""
        if self._mode == "off":
            if wanted is not None and not query:
                raise not_valid("PersistedQueryNotSupported", "PERSISTED_QUERY_NOT_SUPPORTED")
            return query
        actual = hash_of(query) if query and (wanted or self._mode == "allow-list") else None
        if wanted is not None and actual not in (None, wanted):
            raise not_valid("PersistedQueryHashMismatch", "PERSISTED_QUERY_HASH_MISMATCH")
        if self._mode == "allow-list":
            found = self._registered.get(wanted or actual or hash_of(query.strip()))
            if found is None and query:
                found = self._registered.get(hash_of(query.strip()))
            if found is None:
                message = "only registered documents are answered (KONSUL_GRAPHQL_PERSISTED_MODE)"
                raise not_valid(message, "PERSISTED_QUERY_NOT_ALLOWED")
            return found
        if wanted is None or query:
            return query
        found = self._registered.get(wanted) or self._learned.get(wanted)
        if found is None:
            # Clients answer this one by sending the text as well; it is no failure, so it is 200.
            raise Refused("PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound", status=OK)
        if wanted in self._learned:
            self._learned.move_to_end(wanted)
        return found

    def learn(self, query: str, wanted: str | None) -> None:
        """Keeps a valid document under the hash its client gave."""
        if self._mode != "apq" or wanted is None or wanted in self._registered or wanted in self._learned:
            return
        self._learned[wanted] = query
        self._learned_bytes += len(query)
        while len(self._learned) > self._max or self._learned_bytes > self._max_bytes:
            self._learned_bytes -= len(self._learned.popitem(last=False)[1])


def _read(path: Path) -> Iterator[str]:
    """Every document of a directory, or of a manifest."""
    try:
        if path.is_file():
            yield from _manifest(path)
            return
        names = sorted(name for kind in _FILE_KINDS for name in path.rglob(kind))
        if len(names) > _FILES_MAX:
            raise StartFailed(f"{_SETTING} {path} holds more than {_FILES_MAX} documents")
        for name in names:
            yield _text(name)
    except OSError as error:
        raise StartFailed(f"{_SETTING} {error.filename or path} cannot be read: {error.strerror}") from None


def _text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_FILE_MAX_BYTES + 1)
    if len(content) > _FILE_MAX_BYTES:
        raise StartFailed(f"{_SETTING} {path} has more than {_FILE_MAX_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise StartFailed(f"{_SETTING} {path} is not UTF-8") from None


def _manifest(path: Path) -> Iterator[str]:
    """`{"<hash>": "<document>"}`, or Apollo's manifest with a list of `operations`, each with a `body`."""
    wrong = StartFailed(f"{_SETTING} {path} is no manifest of documents")
    try:
        tree: Any = orjson.loads(_text(path))
    except orjson.JSONDecodeError:
        raise wrong from None
    if isinstance(tree, dict) and isinstance(tree.get("operations"), list):
        found = [one.get("body") if isinstance(one, dict) else None for one in tree["operations"]]
    else:
        found = list(tree.values()) if isinstance(tree, dict) else [None]
    for text in found:
        if not isinstance(text, str):
            raise wrong
        yield text
