"""Query parameters of listings that filter, sort and page, and how such a page is answered."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, Query, Response

from konsul.errors import Invalid
from konsul.features.catalog.search import Asked
from konsul.features.catalog.search_queries import WANTED, Wanted, Which
from konsul.kernel.parameters import is_on, u64
from konsul.kernel.routing import json_response

NEXT_AFTER: Final = "X-Konsul-Next-After"
BAD_LIMIT: Final = "Invalid limit parameter: expected a whole number above 0"
BAD_HEALTH: Final = f"Invalid health parameter: expected one of {', '.join(WANTED)}"

_FilterText = Annotated[
    str | None,
    Query(description="Only what this expression accepts: see docs/reference/filters.md.", alias="filter"),
]
_Sort = Annotated[str | None, Query(description="What to sort by; each listing has its own.")]
_Order = Annotated[str | None, Query(description="`asc` or `desc`.")]
_Limit = Annotated[str | None, Query(description="Most items of this page.", examples=["100"])]
_After = Annotated[
    str | None, Query(description="Go on behind a page: what its `after` or `X-Konsul-Next-After` said.")
]
_Name = Annotated[str | None, Query(description="Only instances of the service of this name.")]
_Node = Annotated[str | None, Query(description="Only what is on this node.")]
_Zone = Annotated[str | None, Query(description="Only what is in this zone.")]
_Health = Annotated[
    str | None,
    Query(
        description="`passing`, `serving` (passing or warning), `any`, or exactly `warning` or `critical`."
    ),
]
_Passing = Annotated[str | None, Query(description="On: as `health=passing`.")]


async def _asked(
    filter_: _FilterText = None,
    sort: _Sort = None,
    order: _Order = None,
    limit: _Limit = None,
    after: _After = None,
) -> Asked:
    """Raises Invalid for a limit that is none."""
    most = u64(limit, BAD_LIMIT)
    if most == 0:
        raise Invalid(BAD_LIMIT)
    return Asked(filter=filter_, sort=sort, order=order, limit=most, after=after)


async def _which(
    name: _Name = None,
    node: _Node = None,
    zone: _Zone = None,
    health: _Health = None,
    passing: _Passing = None,
) -> Which:
    """Raises Invalid for a health that is none."""
    return Which(name=name, node=node, zone=zone, health=wanted(health, passing))


async def _healthy(health: _Health = None, passing: _Passing = None) -> Wanted | None:
    """Raises Invalid for a health that is none."""
    return wanted(health, passing)


Healthy = Annotated["Wanted | None", Depends(_healthy)]
"""Annotate a parameter of a listing of instances with it: health, passing."""
Paged = Annotated[Asked, Depends(_asked)]
"""Annotate a parameter of a listing with it: filter, sort, order, limit, after."""
Placed = Annotated[Which, Depends(_which)]
"""Annotate a parameter of a listing of services with it: name, node, zone, health, passing."""


def wanted(health: str | None, passing: str | None) -> Wanted | None:
    """What `health` and `passing` ask for together. Raises Invalid for what they cannot."""
    if is_on(passing):
        if health not in (None, "passing"):
            raise Invalid("passing and health ask for different things")
        return "passing"
    for one in WANTED:
        if health == one:
            return one
    if health is None:
        return None
    raise Invalid(BAD_HEALTH)


def asked_words(which: Which, asked: Asked) -> dict[str, object]:
    """What was searched for, as an answer repeats it; what was not said is left out."""
    said = {
        "name": which.name,
        "node": which.node,
        "zone": which.zone,
        "health": which.health,
        "filter": asked.filter,
    }
    words: dict[str, object] = {"tags": list(which.tags), "metadata": dict(which.metadata)}
    return words | {name: value for name, value in said.items() if value is not None}


def page_response(items: bytes, after: str | None) -> Response:
    """A JSON array that may be a page of a longer one."""
    response = json_response(items)
    if after is not None:
        response.headers[NEXT_AFTER] = after
    return response
