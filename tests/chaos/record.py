"""What the writers did, what was acknowledged, and what the tables may therefore hold."""

from __future__ import annotations

from dataclasses import dataclass, field

ABSENT = None
"""The value of a key that is not there."""


@dataclass
class Key:
    """One key as its only writer knows it: what it surely holds, and may hold since an answer was lost."""

    value: str | None = ABSENT
    index: int | None = None
    """The modify_index acknowledged with `value`, where the answer told it."""
    maybe: list[str | None] = field(default_factory=list)

    def acknowledged(self, value: str | None, index: int | None) -> None:
        self.value, self.index, self.maybe = value, index, []

    def unknown(self, value: str | None) -> None:
        self.maybe.append(value)


@dataclass
class Record:
    """The whole history of one run."""

    keys: dict[str, Key] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    """Keys that are only ever written together, by group: they must hold the same value."""
    floor: int = 0
    """The highest index that anybody saw before the server's present life: every new one is above it."""
    seen: set[int] = field(default_factory=set)
    increments: int = 0
    increments_unknown: int = 0
    acknowledged: int = 0
    unknown: int = 0
    problems: list[str] = field(default_factory=list)

    def key(self, name: str) -> Key:
        return self.keys.setdefault(name, Key())

    def index(self, index: int) -> None:
        """Takes the index of a newly acknowledged entry: never seen before, and above every earlier life."""
        if index in self.seen:
            self.problems.append(f"index {index} was given out twice")
        if index <= self.floor:
            self.problems.append(f"index {index} came after a restart, but {self.floor} before it")
        self.seen.add(index)

    def compare(self, stored: dict[str, tuple[str, int]]) -> None:
        """Checks what is stored now against the record, and takes it as the certain state from here on."""
        for name in stored.keys() - self.keys.keys() - {"chaos/counter"}:
            self.problems.append(f"{name} is stored, but nobody wrote it")
        for name, key in self.keys.items():
            value, index = stored.get(name, (ABSENT, None))
            if (
                value == key.value
                and key.value != ABSENT
                and not key.maybe
                and key.index not in (None, index)
            ):
                self.problems.append(f"{name}: acknowledged at {key.index}, now at {index}: applied again")
            if value != key.value and value not in key.maybe:
                self.problems.append(
                    f"{name}: {value!r} is stored; acknowledged {key.value!r}, open {key.maybe}"
                )
            key.acknowledged(value, index)
        for group, names in self.groups.items():
            held = {stored.get(name, (ABSENT, None)) for name in names}
            if len(held) > 1:
                self.problems.append(f"{group} was written in parts: {sorted(map(str, held))}")
        self.floor = max([self.floor, *self.seen, *(index for _, index in stored.values())])

    def compare_counter(self, value: int) -> None:
        """The counter is the number of increments: every acknowledged one, and some whose answer was lost."""
        if not self.increments <= value <= self.increments + self.increments_unknown:
            self.problems.append(
                f"the counter is {value}; {self.increments} increments were acknowledged, "
                f"{self.increments_unknown} are open"
            )
        self.increments, self.increments_unknown = value, 0
