"""What no index answers: names by how DNS spells them, and what has an address. Made when asked for.

Both are of the tables as they were a moment ago, at most `FRESH_S`: a name that is spelled with capitals, or
an address, is found so much later than it was registered. Whether what is found is healthy is read anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final
from weakref import WeakKeyDictionary

import orjson

from konsul.engine import Engine, unpack_row
from konsul.features.catalog.tables import SEPARATOR, Instance, Node, split_key
from konsul.kernel.scanning import packed_pages

FRESH_S: Final = 1.0
"""It is not made anew more often."""
ADDRESSES_FRESH_S: Final = 5.0
FOLDED_SERVICES: Final = "services"
FOLDED_NODES: Final = "nodes"
_PAGE: Final = 10_000
_ROWS_PAGE: Final = 1_000
_SERVICE: Final = (Instance.table_id, SEPARATOR.encode())
_NODE: Final = (Node.table_id, b"")
_INSTANCE_ADDRESS: Final = Instance.column("address")
_NODE_ADDRESS: Final = Node.column("address")
Found = tuple[Sequence[str], Sequence[str]]
_NOBODY: Final[Found] = ((), ())


class AddressBook:
    """One node's. For the loop's thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._index = -1
        self._at_s = -FRESH_S
        self._spelled: dict[str, dict[str, list[str]]] = {}
        self._addresses: dict[str, tuple[list[str], list[str]]] = {}
        self._addresses_index = -1
        self._addresses_at_s = -ADDRESSES_FRESH_S
        self._reading: asyncio.Task[None] | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether the names are those of the tables as they are now."""
        return self._index == self._engine.contact()[2]

    def spelled(self, kind: str, asked: str) -> Sequence[str]:
        """Stored names with capitals that are `asked` in lower case."""
        now_s = time.monotonic()
        if now_s - self._at_s >= FRESH_S and not self.is_fresh:
            self._at_s = now_s
            self._index = self._engine.contact()[2]
            self._spelled = {FOLDED_SERVICES: self._folded(*_SERVICE), FOLDED_NODES: self._folded(*_NODE)}
        return self._spelled.get(kind, {}).get(asked, ())

    async def at(self, address: str) -> Found:
        """Nodes and services that have the address, by name."""
        is_old = time.monotonic() - self._addresses_at_s >= ADDRESSES_FRESH_S
        if is_old and self._addresses_index != self._engine.contact()[2]:
            if self._reading is None:
                self._reading = asyncio.create_task(self._read(), name="addresses")
            await asyncio.shield(self._reading)
        return self._addresses.get(address, _NOBODY)

    def _folded(self, table: int, separator: bytes) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        after: bytes | None = None
        while True:
            page = self._engine.keys_json(table, separator=separator, after=after, limit=_PAGE)
            for key in orjson.loads(page.json):
                name = key.removesuffix(separator.decode())
                folded = name.lower()
                if folded != name:
                    found.setdefault(folded, []).append(name)
            after = page.after
            if after is None:
                return found

    async def _read(self) -> None:
        """Every address there is, a page at a time: others have their turn in between."""
        try:
            index = self._engine.contact()[2]
            found: dict[str, tuple[list[str], list[str]]] = {}
            for place, table, column in (
                (0, Node.table_id, _NODE_ADDRESS),
                (1, Instance.table_id, _INSTANCE_ADDRESS),
            ):
                for rows in packed_pages(self._engine, table, size=_ROWS_PAGE):
                    for key, packed in rows:
                        names = found.setdefault(unpack_row(packed).cells[column], ([], []))[place]
                        name = split_key(key.decode())[0]
                        if not names or names[-1] != name:
                            names.append(name)
                    await asyncio.sleep(0)
            self._addresses, self._addresses_index = found, index
            self._addresses_at_s = time.monotonic()
        finally:
            self._reading = None


_BOOKS: Final[WeakKeyDictionary[Engine, AddressBook]] = WeakKeyDictionary()


def book_of(engine: Engine) -> AddressBook:
    """The node's."""
    found = _BOOKS.get(engine)
    if found is None:
        found = _BOOKS[engine] = AddressBook(engine)
    return found
