"""The limits of a document's shape: counted on the syntax tree, before anything expensive looks at it.

Validation compares fields with the same name pair by pair, and fragments too: aliases, repeated fields and
fragments are therefore bounded before it, and not only for what they cost when they are executed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    ListValueNode,
    Node,
    OperationDefinitionNode,
    SelectionSetNode,
)

from konsul.doors.graphql.refusals import Refused, not_valid, over
from konsul.kernel.graphql_settings import GraphqlSettings

INTROSPECTION: Final = frozenset(("__schema", "__type"))
INTROSPECTION_DEPTH: Final = 15
"""What the usual introspection query needs, whatever other operations may need less."""
INTROSPECTIONS_MAX: Final = 5
"""Roots of introspection in a document: each of them may answer the whole schema."""


@dataclass(slots=True)
class _Counts:
    aliases: int = 0
    directives: int = 0
    introspections: int = 0
    largest_list: int = 0


@dataclass(slots=True)
class Shape:
    """A document's fragments, and how deep each of its operations goes."""

    settings: GraphqlSettings
    fragments: dict[str, FragmentDefinitionNode] = field(default_factory=dict)
    _depths: dict[str, tuple[int, int]] = field(default_factory=dict)
    _entered: set[str] = field(default_factory=set)

    def check(self, document: DocumentNode) -> dict[str, int]:
        """The depth of every operation by name (empty: no name). Raises Refused."""
        settings = self.settings
        operations: list[OperationDefinitionNode] = []
        for definition in document.definitions:
            if isinstance(definition, OperationDefinitionNode):
                operations.append(definition)
            elif isinstance(definition, FragmentDefinitionNode):
                self.fragments[definition.name.value] = definition
        defined = len(document.definitions)
        if defined > settings.max_fragments + 1:
            raise over(
                "FRAGMENT_LIMIT_EXCEEDED",
                f"the document has {defined} operations and fragments",
                settings.max_fragments,
                "KONSUL_GRAPHQL_MAX_FRAGMENTS",
            )
        self._count(document)
        return {one.name.value if one.name else "": self._depth_of(one) for one in operations}

    def _count(self, document: DocumentNode) -> None:
        settings, counts = self.settings, _Counts()
        for node in _every(document):
            counts.directives += len(getattr(node, "directives", None) or ())
            if isinstance(node, SelectionSetNode):
                counts.aliases += _repeated(node)
            elif isinstance(node, FieldNode):
                counts.aliases += node.alias is not None
                counts.introspections += node.name.value in INTROSPECTION
            elif isinstance(node, ListValueNode):
                counts.largest_list = max(counts.largest_list, len(node.values))
        for code, found, what, limit, name in (
            ("ALIAS", counts.aliases, "aliases and repeated fields", settings.max_aliases, "MAX_ALIASES"),
            ("DIRECTIVE", counts.directives, "directives", settings.max_directives, "MAX_DIRECTIVES"),
            ("LIST", counts.largest_list, "items in a list", settings.max_list_items, "MAX_LIST_ITEMS"),
        ):
            if found > limit:
                setting = f"KONSUL_GRAPHQL_{name}"
                raise over(f"{code}_LIMIT_EXCEEDED", f"the document has {found} {what}", limit, setting)
        if counts.introspections and not settings.introspection_enabled:
            raise not_valid(
                "introspection is off (KONSUL_GRAPHQL_INTROSPECTION_ENABLED)", "INTROSPECTION_DISABLED"
            )
        if counts.introspections > INTROSPECTIONS_MAX:
            raise Refused(
                "INTROSPECTION_LIMIT_EXCEEDED",
                f"the document introspects {counts.introspections} times, at most {INTROSPECTIONS_MAX}",
            )

    def _depth_of(self, operation: OperationDefinitionNode) -> int:
        limit = self.settings.max_depth
        depth, introspected = self._deepest(operation.selection_set)
        if depth > limit:
            raise over(
                "DEPTH_LIMIT_EXCEEDED",
                f"the operation is {depth} fields deep",
                limit,
                "KONSUL_GRAPHQL_MAX_QUERY_DEPTH",
            )
        if introspected > max(limit, INTROSPECTION_DEPTH):
            raise over(
                "DEPTH_LIMIT_EXCEEDED",
                f"introspection is {introspected} fields deep",
                max(limit, INTROSPECTION_DEPTH),
                "KONSUL_GRAPHQL_MAX_QUERY_DEPTH",
            )
        return max(depth, introspected)

    def _deepest(self, selections: SelectionSetNode | None) -> tuple[int, int]:
        """How deep its fields go, and how deep those of introspection. The parser bounds the nesting."""
        plain = introspected = 0
        for one in selections.selections if selections is not None else ():
            if isinstance(one, FieldNode):
                below, hidden = self._deepest(one.selection_set)
                if one.name.value in INTROSPECTION:
                    introspected = max(introspected, 1 + max(below, hidden))
                else:
                    plain = max(plain, 1 + below)
                    introspected = max(introspected, 1 + hidden if hidden else 0)
                continue
            below, hidden = (
                self._of_fragment(one)
                if isinstance(one, FragmentSpreadNode)
                else (self._deepest(one.selection_set) if isinstance(one, InlineFragmentNode) else (0, 0))
            )
            plain, introspected = max(plain, below), max(introspected, hidden)
        return plain, introspected

    def _of_fragment(self, spread: FragmentSpreadNode) -> tuple[int, int]:
        name = spread.name.value
        if name in self._depths:
            return self._depths[name]
        if name in self._entered:
            raise not_valid(f"fragment {name!r} spreads itself")
        found = self.fragments.get(name)
        if found is None:
            return 0, 0
        self._entered.add(name)
        self._depths[name] = self._deepest(found.selection_set)
        self._entered.discard(name)
        return self._depths[name]


def _every(document: DocumentNode) -> Iterator[Node]:
    """Every node, without recursion: a tree may be as deep as the parser goes."""
    waiting: list[Node] = [document]
    while waiting:
        node = waiting.pop()
        yield node
        for key in node.keys:
            value = getattr(node, key, None)
            if isinstance(value, Node):
                waiting.append(value)
            elif isinstance(value, list | tuple):
                waiting.extend(each for each in value if isinstance(each, Node))


def _repeated(selections: SelectionSetNode) -> int:
    """How many of its fields come under a name that another has too; inline fragments are looked into."""
    seen: set[str] = set()
    count = 0
    waiting = [selections]
    while waiting:
        for one in waiting.pop().selections:
            if isinstance(one, InlineFragmentNode):
                waiting.append(one.selection_set)
            elif isinstance(one, FieldNode) and one.alias is None:
                count += one.name.value in seen
                seen.add(one.name.value)
    return count
