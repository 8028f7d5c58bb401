"""What of the services can be watched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

from konsul.engine import Form
from konsul.features.catalog.healths import ANY, SERVING, conditions
from konsul.features.catalog.rules import check_name
from konsul.features.catalog.tables import FORM, PASSING, SEPARATOR, WARNING, Instance, instance_form
from konsul.kernel.watching import Spec


@cache
def _form(health: str) -> Form:
    if health == ANY:
        return FORM
    return instance_form(*((PASSING, WARNING) if health == SERVING else (health,)))


def of_names(pattern: str) -> Spec:
    """Every instance of the services whose names match."""
    return instances(pattern, "service:list")


def of_service(name: str) -> Spec:
    """Every instance of one service. Raises Invalid for a name that none can have."""
    check_name(name)
    return instances(name)


def of_names_as(health: str) -> Callable[[str], Spec]:
    """As `of_names`, for a listing of what is as healthy."""
    return lambda pattern: as_healthy(of_names(pattern), health)


def of_service_as(health: str) -> Callable[[str], Spec]:
    """As `of_service`, for a listing of what is as healthy."""
    return lambda name: as_healthy(of_service(name), health)


def as_healthy(spec: Spec, health: str) -> Spec:
    """Only of what is as healthy: it is told as coming when it gets so, and as going when it ceases to be."""
    where = conditions(health)
    if len(where) > 1:
        # Several conditions of which one must hold are for the form alone to ask of each row.
        return replace(spec, form=_form(health))
    return replace(spec, form=_form(health), where=(*spec.where, *where[0]))


def instances(
    names: str | None,
    needs: str = "service:read",
    form: Form = FORM,
    *,
    where: Sequence[tuple[int, bytes]] = (),
    renewals: bool = False,
    coalesce: bool = False,
) -> Spec:
    """Every instance of the services whose names match the pattern `names`, None: of all. The rest as in
    `Spec`."""
    return Spec(
        form,
        Instance.table_id,
        "**" if names is None else f"{names}{SEPARATOR}*",
        needs,
        separator=SEPARATOR.encode(),
        where=tuple(where),
        renewals=renewals,
        coalesce=coalesce,
    )
