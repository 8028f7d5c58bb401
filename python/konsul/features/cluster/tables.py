"""What a cluster keeps about itself: the tokens with which nodes may join, and settings all nodes share."""

from __future__ import annotations

from konsul.kernel.schema import Row, column, expires, json_column, key, table


@table("join_tokens", id=3)
class JoinTokenRow(Row):
    """A token by its SHA-256 in hex: the token itself is shown once and kept nowhere."""

    digest: str = key()
    uses_left: int | None = None
    """None: any number. At 0 the row stays until it expires, so that joining still needs a token."""
    created_at_ms: int = 0
    expires_at_ms: int | None = expires()
    description: str = ""
    used_by: list[str] = column(default=[])
    """Raft ids that came in with a counted use: the same node asking again spends no other one."""


@table("cluster_settings", id=4)
class SettingsRow(Row):
    """Settings by name; so far `autopilot`."""

    name: str = key()
    value: bytes | None = json_column()
