"""What of the services can be watched."""

from __future__ import annotations

from collections.abc import Sequence

from konsul.engine import Form
from konsul.features.catalog.rules import check_name
from konsul.features.catalog.tables import FORM, SEPARATOR, Instance
from konsul.kernel.watching import Spec


def of_names(pattern: str) -> Spec:
    """Every instance of the services whose names match."""
    return instances(pattern, "service:list")


def of_service(name: str) -> Spec:
    """Every instance of one service. Raises Invalid for a name that none can have."""
    check_name(name)
    return instances(name)


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
