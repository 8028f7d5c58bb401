"""Which of several fresh nodes forms the cluster: each promises itself to one, so that only one can.

A cluster of N forms when the node with the lowest name of those it sees holds the promises of N - 1 others.
A promise outlives a restart. It is void only when the node that holds it says that it stands no more.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from konsul.kernel.cluster_settings import is_node_id


class Keep(Protocol):
    """Where a promise survives the process."""

    def read(self) -> str: ...
    def write(self, node_id: str) -> None: ...


class InMemory:
    """For a node whose data does not outlive it either."""

    def __init__(self) -> None:
        self._node_id = ""

    def read(self) -> str:
        """The promise, empty for none."""
        return self._node_id

    def write(self, node_id: str) -> None:
        """Notes it."""
        self._node_id = node_id


class InFile:
    """In the data directory, synced before it counts."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "promise"

    def read(self) -> str:
        """The promise, empty for none or for a file that holds no node's name."""
        try:
            text = self._path.read_text("ascii", "replace").strip()
        except FileNotFoundError:
            return ""
        return text if is_node_id(text) else ""

    def write(self, node_id: str) -> None:
        """Notes it; empty takes it back."""
        if not node_id:
            self._path.unlink(missing_ok=True)
            return
        beside = self._path.with_suffix(".new")
        with beside.open("w", encoding="ascii") as file:
            file.write(node_id + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)


@dataclass(slots=True)
class Promises:
    """One fresh node's part. Each method is one step of the loop; a few of them, in all, sync a file."""

    node_id: str
    expect: int
    keep: Keep
    given: str = ""
    """To whom this node promised itself; its own name: it stands for it itself."""
    is_decided: bool = False
    """It is bootstrapping: nothing is given back any more."""
    _held: set[str] = field(default_factory=set)
    _round: int = 0

    def __post_init__(self) -> None:
        self.given = self.keep.read()

    def stand(self, seen: set[str]) -> int | None:
        """Begins to ask for promises if `seen` (this node among them) says so; the number of the round."""
        if len(seen) < self.expect or min(seen) != self.node_id or self.given not in ("", self.node_id):
            return None
        self._give(self.node_id)
        self._round += 1
        self._held = {self.node_id}
        return self._round

    def asked(self, by: str, expect: int) -> bool:
        """Another node asks for the promise: True if it holds it now."""
        if self.is_decided or expect != self.expect:
            return False
        if self.given == self.node_id and by < self.node_id:
            # It gives way: what others promised it is void before it promises anything.
            self._held.clear()
            self._round += 1
            self._give(by)
        elif not self.given and by < self.node_id:
            self._give(by)
        return self.given == by

    def granted(self, by: str, round_number: int) -> None:
        """`by` promised itself in that round; an answer to a round that is over counts nothing."""
        if round_number == self._round:
            self._held.add(by)

    def wins(self, round_number: int) -> bool:
        """True, once and for all, if the round brought enough promises."""
        if round_number != self._round or self.given != self.node_id or len(self._held) < self.expect:
            return False
        self.is_decided = True
        return True

    def released(self, holder: str, holder_given: str) -> None:
        """Its holder, asked after the promise was given, says whom it is for: not itself, so this is void."""
        if self.given == holder and holder_given != holder and not self.is_decided:
            self._give("")

    def forget(self) -> None:
        """There is a cluster: nobody needs the promise any more."""
        if self.given:
            self._give("")

    def _give(self, node_id: str) -> None:
        if node_id != self.given:
            self.keep.write(node_id)
            self.given = node_id
