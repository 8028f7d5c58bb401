"""A policy as a value, and what a document may say: resources, capabilities, limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

POLICIES_MAX: Final = 500
"""Policies of the API and files of the directory together; as the core's."""
RULES_MAX: Final = 1_000
ALL_RULES_MAX: Final = 50_000
"""Rules of all policies together: every change compiles them, on every node, in some 50 ms."""
PATTERN_MAX_BYTES: Final = 1_024
WILDCARDS_MAX: Final = 16
DOCUMENT_MAX_BYTES: Final = 256 << 10
DESCRIPTION_MAX: Final = 1_024
ATTACHED_MAX: Final = 64
"""Policies of one identity."""

DENY: Final = "deny"
_NAMED: Final = ("read", "write", "list", DENY)
SELECTORS: Final = {
    "kv": "path",
    "service": "name",
    "health": None,
    "backup": None,
    "admin": None,
    "agent": "name",
    "event": "name",
    "query": "name",
    "session": "name",
}
"""By resource, the member of a rule that says which of them; None: there is only one."""
CAPABILITIES: Final = {
    "kv": ("read", "write", "list", "delete", DENY),
    "service": ("read", "write", "list", "register", "deregister", DENY),
    "health": ("read", "write", DENY),
    "backup": ("create", "restore", "export", "import", "list", "delete", DENY),
    "admin": ("read", "write", "admin", DENY),
    "agent": _NAMED,
    "event": _NAMED,
    "query": _NAMED,
    "session": _NAMED,
}
EVERYTHING: Final = "**"

NativeRule: TypeAlias = tuple[str, str, list[str]]
NativePolicy: TypeAlias = tuple[str, list[NativeRule]]


@dataclass(frozen=True, slots=True)
class Rule:
    """What is granted, or denied, of what. `selector`: the pattern, "" where the resource has none."""

    resource: str
    selector: str
    capabilities: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As a policy document has it."""
        member = SELECTORS[self.resource]
        chosen = {} if member is None else {member: self.selector}
        return chosen | {"capabilities": list(self.capabilities)}

    def native(self) -> NativeRule:
        """As the core compiles it."""
        return self.resource, self.selector, list(self.capabilities)


@dataclass(frozen=True, slots=True)
class Policy:
    """A checked policy. `rules` stand in the order of `SELECTORS`, of one resource in the document's."""

    name: str
    description: str
    rules: tuple[Rule, ...]

    def document(self) -> dict[str, Any]:
        """The document; lists without a rule are left out."""
        found: dict[str, Any] = {"name": self.name, "description": self.description}
        for rule in self.rules:
            found.setdefault(rule.resource, []).append(rule.document())
        return found

    def native(self) -> NativePolicy:
        """As the core compiles it."""
        return self.name, [rule.native() for rule in self.rules]
