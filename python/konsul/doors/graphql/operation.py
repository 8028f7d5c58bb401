"""One operation, from what a client asked to what is executed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from konsul.doors.graphql.refusals import bad_request
from konsul.kernel.asking import Asking
from konsul.kernel.context import Context

if TYPE_CHECKING:
    from graphql import OperationDefinitionNode

    from konsul.doors.graphql.documents import Document
    from konsul.doors.graphql.ready import Ready

QUERY: Final = "query"
MUTATION: Final = "mutation"
SUBSCRIPTION: Final = "subscription"
UNREADABLE: Final = "json request body could not be decoded"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client sent. `size_bytes`: of the message it came in."""

    query: str = ""
    operation_name: str = ""
    variables: Mapping[str, Any] = field(default_factory=dict)
    extensions: Mapping[str, Any] = field(default_factory=dict)
    size_bytes: int = 0


def asked_of(value: object, size_bytes: int) -> Asked:
    """Reads `{query, operationName, variables, extensions}`; null counts as absent.

    Raises:
        Refused: it is no object, or a member has another type.
    """
    if not isinstance(value, dict):
        raise bad_request(f"{UNREADABLE}: expected an object")
    found: dict[str, Any] = {"size_bytes": size_bytes}
    for member, name, kind in (
        ("query", "query", str),
        ("operationName", "operation_name", str),
        ("variables", "variables", dict),
        ("extensions", "extensions", dict),
    ):
        given = value.get(member)
        if given is None:
            continue
        if not isinstance(given, kind):
            raise bad_request(f"{UNREADABLE}: {member} must be {'a string' if kind is str else 'an object'}")
        found[name] = given
    return Asked(**found)


@dataclass(slots=True, eq=False, kw_only=True)
class Operation(Asking):
    """What resolvers know, with a write of its own for each mutation field."""

    _first: Context | None = None
    _written: int = 0

    def enter(self, kind: str) -> None:
        """A field of the root type begins. Mutation fields run one after the other."""
        if kind != MUTATION:
            return
        if self._first is None:
            self._first = self.context
        # An Idempotency-Key names one write: each further field is a part of the request, by who asks by now.
        if self._written:
            self.context = replace(self._first.part(self._written), identity=self.context.identity)
        self._written += 1


@dataclass(frozen=True, slots=True)
class Prepared:
    """A validated operation with its cost; ready to be executed once."""

    ready: Ready
    document: Document
    definition: OperationDefinitionNode
    variables: Mapping[str, Any]
    label: str
    """The operation's name, bounded, for metrics."""
    kind: str
    field: str
    """The first field of the root type."""
    cost: int = 0
    """Its complexity."""
