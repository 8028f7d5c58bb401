"""The policies made through the API; those of the directory are each node's own and in no table."""

from __future__ import annotations

from typing import Final

from konsul.engine import Form
from konsul.kernel.schema import Row, json_column, key, table


@table("policies", id=9)
class PolicyRow(Row):
    """A policy by its name."""

    name: str = key()
    document: bytes | None = json_column()
    """The whole document as it was checked, with its name."""


KEY: Final = -1

FORM: Final = Form(PolicyRow.table_id, kinds=("set", "set", "delete", "delete", ""), row=[("name", KEY, 0)])
"""What a watch tells of a policy: only that it changed."""
