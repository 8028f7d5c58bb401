"""What of the services can be watched."""

from __future__ import annotations

from konsul.features.catalog.rules import check_name
from konsul.features.catalog.tables import FORM, SEPARATOR, Instance
from konsul.kernel.watching import Spec


def of_names(pattern: str) -> Spec:
    """Every instance of the services whose names match."""
    return _spec(pattern, "service:list")


def of_service(name: str) -> Spec:
    """Every instance of one service. Raises Invalid for a name that none can have."""
    check_name(name)
    return _spec(name, "service:read")


def _spec(names: str, needs: str) -> Spec:
    pattern = f"{names}{SEPARATOR}*"
    return Spec(FORM, Instance.table_id, pattern, needs, separator=SEPARATOR.encode())
