"""Which query is meant: by id, by name, or by the template with the longest name that it begins with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from konsul.engine import Row
from konsul.errors import Invalid, NotFound
from konsul.features.catalog.search_fields import INSTANCES
from konsul.features.queries.documents import ID, NAME, Prepared, Sought, prepared_of
from konsul.features.queries.tables import PreparedQuery, lookup_of
from konsul.features.queries.templates import Parts, fill, fill_tree, parts_of
from konsul.kernel.context import Context
from konsul.kernel.filters.compiler import compile_tree
from konsul.kernel.filters.parser import parse
from konsul.kernel.filters.problem import FilterError
from konsul.kernel.filters.selectors import Filter
from konsul.kernel.filters.tree import write
from konsul.kernel.pipeline import AUTHENTICATED

UNKNOWN: Final = "Query not found"
_LOOKUP: Final = PreparedQuery.column("lookup")
_TEMPLATE: Final = PreparedQuery.column("template")
_DOCUMENT: Final = PreparedQuery.column("document")


@dataclass(frozen=True, slots=True)
class Stored:
    """A query as it is in the table."""

    id: str
    row: Row

    @property
    def document(self) -> dict[str, Any]:
        """As it was checked."""
        found: dict[str, Any] = orjson.loads(self.row.cells[_DOCUMENT])
        return found

    @property
    def is_template(self) -> bool:
        """Whether it answers for every name that begins with its own."""
        return bool(self.row.cells[_TEMPLATE])

    @property
    def scope(self) -> str:
        """What rules of policies name: the query's name, or its id if it has none."""
        return str(self.document.get("name") or self.id)

    def shown(self) -> dict[str, Any]:
        """As every door shows it."""
        indices = {"create_index": self.row.create_index, "modify_index": self.row.modify_index}
        return {"id": self.id, **self.document, **indices}


@dataclass(frozen=True, slots=True)
class Ready:
    """A query that can be executed: of a template, for one name."""

    stored: Stored
    name: str
    prepared: Prepared

    def filter(self) -> Filter[Any] | None:
        """Its filter, compiled. Raises Invalid for one that a template's name has spoilt."""
        text = self.prepared.sought.filter
        return INSTANCES.selectors.filter(text) if text else None


def find(ctx: Context, which: str) -> Stored | None:
    """The query of this id, or of exactly this name."""
    if ID.fullmatch(which):
        row = ctx.engine.get(PreparedQuery.table_id, which.encode())
        return None if row is None else Stored(which, row)
    return _named(ctx, which) if NAME.fullmatch(which) else None


def found(ctx: Context, which: str) -> Stored:
    """As `find`. Raises NotFound."""
    stored = find(ctx, which)
    if stored is None:
        raise NotFound(UNKNOWN)
    return stored


async def found_now(ctx: Context, which: str) -> Stored:
    """As `found`. A node that is behind asks the leader before it says that there is none."""
    stored = find(ctx, which)
    if stored is None and (ID.fullmatch(which) or NAME.fullmatch(which)):
        await ctx.engine.barrier("linearizable", ctx.terms.timeout_ms)
    return found(ctx, which) if stored is None else stored


async def scope_now(ctx: Context, which: str) -> str:
    """As `scope_of`, before a write: a node that is behind asks the leader, for somebody."""
    if ID.fullmatch(which) and find(ctx, which) is None:
        if ctx.pipeline.authorise is not None:
            ctx.pipeline.authorise(ctx.identity, AUTHENTICATED, "")
        await ctx.engine.barrier("linearizable", ctx.terms.timeout_ms)
    return scope_of(ctx, which)


def scope_of(ctx: Context, which: str) -> str:
    """What has to be allowed to do something with a query; of one that is not there what it was called."""
    stored = find(ctx, which) if ID.fullmatch(which) else None
    return which if stored is None else stored.scope


def ready(ctx: Context, which: str) -> Ready:
    """The query that answers for an id or a name.

    Raises:
        NotFound: there is none, nor a template. Invalid: the name makes no query of the template.
    """
    stored = find(ctx, which)
    if stored is None and NAME.fullmatch(which) and not ID.fullmatch(which):
        stored = _template_for(ctx, which)
    if stored is None:
        raise NotFound(UNKNOWN)
    prepared = prepared_of(stored.document)
    name = prepared.name if ID.fullmatch(which) else which
    if prepared.template is None:
        return Ready(stored, name, prepared)
    parts = parts_of(prepared.template, prepared.name, name)
    filled = _filled(prepared.sought, parts, prepared.template.remove_empty_tags)
    return Ready(stored, name, replace(prepared, sought=filled))


def _named(ctx: Context, name: str) -> Stored | None:
    where = [(_LOOKUP, lookup_of(name).encode())]
    rows = ctx.engine.scan(PreparedQuery.table_id, b"", where, None, 1).rows
    return Stored(rows[0][0].decode(), rows[0][1]) if rows else None


def _template_for(ctx: Context, name: str) -> Stored | None:
    """One look per beginning of the name, at most 128, and none where there are no templates."""
    where = [(_TEMPLATE, b"name_prefix_match")]
    if not ctx.engine.scan_packed(PreparedQuery.table_id, b"", where, None, 1)[0]:
        return None
    for size in range(len(name), -1, -1):
        stored = _named(ctx, name[:size])
        if stored is not None and stored.is_template:
            return stored
    return None


def _filled(sought: Sought, parts: Parts, remove_empty_tags: bool) -> Sought:
    def put(text: str) -> str:
        return fill(text, parts)

    tags = tuple(map(put, sought.tags))
    if remove_empty_tags:
        tags = tuple(tag for tag in tags if tag not in ("", "!"))
    text = sought.filter
    if text:
        text = write(fill_tree(parse(text), put))
        try:
            compile_tree(text, parse(text), INSTANCES.selectors)
        except FilterError as error:
            raise Invalid(f"the name {parts.full} makes no filter of this template: {error}") from None
    return replace(
        sought,
        service=put(sought.service),
        tags=tags,
        meta={key: put(value) for key, value in sought.meta.items()},
        node_meta={key: put(value) for key, value in sought.node_meta.items()},
        near=put(sought.near),
        ignore_check_ids=tuple(map(put, sought.ignore_check_ids)),
        filter=text,
    )
