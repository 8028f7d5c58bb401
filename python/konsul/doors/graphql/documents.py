"""From a document's text to something that can be executed: parsed, bounded, validated, and kept."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    parse,
    validate,
)

from konsul.doors.graphql.cost import Costing
from konsul.doors.graphql.limits import Shape
from konsul.doors.graphql.refusals import Refused, not_valid, over
from konsul.kernel.graphql_settings import GraphqlSettings

_INLINE_BYTES: Final = 2_048
"""Longer documents are checked in a thread, so that the loop serves others meanwhile."""
_ERRORS_MAX: Final = 20
_TOO_MANY: Final = "Syntax Error: Document contains more than"


class Broken(Exception):
    """The document cannot be executed: the errors of the parser or of the validation."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__(str(errors[0]) if errors else "")
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Document:
    """A validated document; shared by all requests that send it."""

    node: DocumentNode
    operations: Mapping[str, OperationDefinitionNode]
    depths: Mapping[str, int]
    shape: Shape
    size_bytes: int

    def pick(self, name: str) -> OperationDefinitionNode:
        """The operation to execute. Raises Refused if there is none, or more than one and no name."""
        if name:
            found = self.operations.get(name)
            if found is None:
                raise not_valid(f"unknown operation named {name[:64]!r}")
            return found
        if len(self.operations) != 1:
            raise not_valid(
                "the document has several operations: say which with operationName"
                if self.operations
                else "no operation provided"
            )
        return next(iter(self.operations.values()))


def root_fields(document: Document, operation: OperationDefinitionNode) -> int:
    """How many fields of the root type an operation asks for, fragments expanded."""
    waiting = [operation.selection_set]
    count = 0
    while waiting:
        for one in waiting.pop().selections:
            if isinstance(one, FieldNode):
                count += 1
            else:
                inside: Any = one
                if not hasattr(one, "selection_set"):
                    inside = document.shape.fragments[one.name.value]  # type: ignore[attr-defined]
                waiting.append(inside.selection_set)
    return count


class Documents:
    """Prepares documents, and keeps those that were used last: at most so many, of so many bytes."""

    def __init__(self, schema: GraphQLSchema, settings: GraphqlSettings) -> None:
        self._schema = schema
        self._settings = settings
        self._kept: OrderedDict[str, Document] = OrderedDict()
        self._kept_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    async def prepare(self, query: str) -> Document:
        """The document of this text. Raises Refused for a limit or a missing document, Broken for errors."""
        found = self._kept.get(query)
        if found is not None:
            self._kept.move_to_end(query)
            return found
        if not query.strip():
            raise not_valid("no operation provided")
        # Characters first: what is far too long is not even encoded.
        limit = self._settings.max_query_bytes
        size_bytes = len(query) if len(query) > limit else len(query.encode("utf-8", "surrogatepass"))
        if size_bytes > limit:
            raise _unread("QUERY_TOO_LARGE", f"the document has {size_bytes} bytes", limit, "QUERY_BYTES")
        if size_bytes > _INLINE_BYTES:
            found = await asyncio.to_thread(self._prepare, query, size_bytes)
        else:
            found = self._prepare(query, size_bytes)
        self._keep(query, found)
        return found

    def cost(
        self, document: Document, operation: OperationDefinitionNode, variables: Mapping[str, Any]
    ) -> int:
        """What an operation costs with these variables. Raises Refused for too much."""
        return Costing(self._schema, document.shape.fragments, self._settings).of(operation, variables)

    def _prepare(self, query: str, size_bytes: int) -> Document:
        limit = self._settings.max_tokens
        try:
            node = parse(
                query, max_lexical_tokens=limit, max_comments=limit, allow_empty_selection_sets=False
            )
        except GraphQLError as error:
            if error.message.startswith(_TOO_MANY):
                found = f"the document has more than {limit} words and signs"
                raise _unread("TOKEN_LIMIT_EXCEEDED", found, limit, "TOKENS") from None
            raise Broken([error]) from None
        shape = Shape(self._settings)
        try:
            depths = shape.check(node)
            self._allowed(node)
            errors = validate(
                self._schema,
                node,
                max_errors=_ERRORS_MAX,
                hide_suggestions=not self._settings.introspection_enabled,
            )
        except RecursionError:
            limit = self._settings.max_depth
            found = "the document nests far too deep"
            raise over("DEPTH_LIMIT_EXCEEDED", found, limit, "KONSUL_GRAPHQL_MAX_QUERY_DEPTH") from None
        if errors:
            raise Broken(errors)
        operations = {
            one.name.value if one.name else "": one
            for one in node.definitions
            if isinstance(one, OperationDefinitionNode)
        }
        return Document(node, operations, depths, shape, size_bytes)

    def _allowed(self, node: DocumentNode) -> None:
        """Raises Refused for a kind of operation that is switched off."""
        off = {
            OperationType.MUTATION: not self._settings.mutations_enabled,
            OperationType.SUBSCRIPTION: not self._settings.subscriptions_enabled,
        }
        for one in node.definitions:
            if isinstance(one, OperationDefinitionNode) and off.get(one.operation):
                name = f"{one.operation.value.upper()}S"
                raise Refused(
                    f"{name}_DISABLED", f"{name.lower()} are switched off (KONSUL_GRAPHQL_{name}_ENABLED)"
                )

    def _keep(self, query: str, document: Document) -> None:
        settings = self._settings
        if not settings.documents_kept or document.size_bytes > settings.documents_kept_bytes:
            return
        replaced = self._kept.pop(query, None)
        self._kept_bytes += document.size_bytes - (replaced.size_bytes if replaced else 0)
        self._kept[query] = document
        while len(self._kept) > settings.documents_kept or self._kept_bytes > settings.documents_kept_bytes:
            self._kept_bytes -= self._kept.popitem(last=False)[1].size_bytes


def _unread(code: str, found: str, limit: int, setting: str) -> Refused:
    """Refused before it was parsed."""
    refused = over(code, found, limit, f"KONSUL_GRAPHQL_MAX_{setting}")
    refused.status = not_valid("").status
    return refused
