"""Query parameters that routes about services share."""

from __future__ import annotations

from typing import Final

from fastapi import Request

_META: Final = "meta."


def meta_filters(request: Request) -> list[tuple[str, str]]:
    """The pairs of every `meta.<key>=<value>` of the query, in order."""
    items = request.query_params.multi_items()
    return [(name.removeprefix(_META), value) for name, value in items if name.startswith(_META)]
