"""Query parameters that routes about services share."""

from __future__ import annotations

from typing import Final

from fastapi import Request

from konsul.kernel.reading import NAMES

_META: Final = "meta."


def filters_of(request: Request) -> list[tuple[str, str]]:
    """Every pair of the query but those that say how fresh the read must be, in order."""
    return [pair for pair in request.query_params.multi_items() if pair[0] not in NAMES]


def meta_filters(request: Request) -> list[tuple[str, str]]:
    """The pairs of every `meta.<key>=<value>` of the query, in order."""
    items = request.query_params.multi_items()
    return [(name.removeprefix(_META), value) for name, value in items if name.startswith(_META)]
