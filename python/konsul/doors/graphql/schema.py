"""The one schema, put together from what the features declare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import strawberry
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.tools import merge_types

from konsul.doors.graphql.federation import Subgraph
from konsul.doors.graphql.scalars import SCALARS

if TYPE_CHECKING:
    from konsul.kernel.feature import Feature


def build(
    features: Iterable[Feature],
    *,
    extensions: Sequence[type[SchemaExtension] | Callable[[], SchemaExtension]] = (),
) -> strawberry.Schema:
    """The schema of all features that have a part in it. Slow the first time: call it in a thread.

    Raises:
        TypeError: a feature's module holds no parts, or two features bring a field of the same name.
        ValueError: there is no query at all, or the schema breaks a rule of GraphQL.
    """
    parts = [feature.graphql.parts() for feature in features if feature.graphql is not None]
    query = _merged("Query", [kind for part in parts for kind in part.queries])
    if query is None:
        raise ValueError("no feature has a GraphQL query")
    return Subgraph(
        query=query,
        mutation=_merged("Mutation", [kind for part in parts for kind in part.mutations]),
        subscription=_merged("Subscription", [kind for part in parts for kind in part.subscriptions]),
        types=[kind for part in parts for kind in part.types],
        extensions=extensions,
        config=StrawberryConfig(scalar_map=SCALARS),
    )


def _merged(name: str, kinds: Sequence[type]) -> type | None:
    """One root type with the fields of all, in order of the features."""
    owners: dict[str, type] = {}
    for kind in kinds:
        for field in kind.__strawberry_definition__.fields:  # type: ignore[attr-defined]
            owner = owners.setdefault(field.name, kind)
            if owner is not kind:
                raise TypeError(f"{name}.{field.name} is in {owner.__module__} and in {kind.__module__}")
    # The class made here lists its bases last first, and a schema reads best in the order of the features.
    return merge_types(name, tuple(reversed(kinds))) if kinds else None
