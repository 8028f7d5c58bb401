"""Which nodes run checks: a row each, held by a lease that the node renews."""

from __future__ import annotations

from typing import Final

from konsul.engine import Form
from konsul.features.catalog.tables import Check
from konsul.kernel.schema import Row, key, lease, table


@table("check_runners", id=18)
class CheckRunner(Row):
    """A node that runs checks. Renewals stay out of the log; silence enters it, as one delete."""

    node_id: str = key()
    raft_id: int = 0
    """Under which the others ask it; 0 of a lone node."""
    ttl_ms: int | None = lease()


_KEY: Final = -1
_KINDS: Final = ("set", "set", "delete", "delete", "")
RUNNER_FORM: Final = Form(CheckRunner.table_id, kinds=_KINDS, row=[("node_id", _KEY, 0)])
CHECK_FORM: Final = Form(Check.table_id, kinds=_KINDS, row=[("id", _KEY, 0)])
"""What the node's own watches are told: that something changed. Then the tables are read."""
