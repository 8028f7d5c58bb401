"""The schema as an Apollo federation v2 subgraph, and the errors as every answer shows them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from typing import cast

from graphql import GraphQLError
from strawberry.federation import Schema
from strawberry.federation.schema import FederationAny
from strawberry.types import ExecutionContext, Info

from konsul.doors.graphql.failures import tell
from konsul.errors import Invalid


class Subgraph(Schema):
    """A federated schema whose errors have codes and say nothing of the inside."""

    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        """Gives every error its code, in place, and logs what nobody expected."""
        context = execution_context.context if execution_context is not None else None
        for error in errors:
            tell(error, context)

    def entities_resolver(self, info: Info, representations: list[FederationAny]) -> list[FederationAny]:
        """One entity, None or error for each representation: a bad one leaves the others alone."""
        return [cast(FederationAny, self._entity(info, one)) for one in representations]

    def _entity(self, info: Info, representation: object) -> object:
        if not isinstance(representation, dict) or not isinstance(representation.get("__typename"), str):
            return Invalid("a representation must be an object with __typename")
        name = representation["__typename"]
        known = self.schema_converter.type_map.get(name)
        origin = getattr(known.definition, "origin", None) if known is not None else None
        resolve = getattr(origin, "resolve_reference", None)
        if resolve is None:
            return Invalid(f"{name} is not an entity of this subgraph")
        wanted = [each for each in inspect.signature(resolve).parameters if each != "info"]
        for key in wanted:
            if not isinstance(representation.get(key), str):
                return Invalid(f"a representation of {name} needs its key field {key}, a string")
        found: Awaitable[object] = resolve(info=info, **{key: representation[key] for key in wanted})
        return found
