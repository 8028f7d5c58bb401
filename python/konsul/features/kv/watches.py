"""What of the keys can be watched."""

from __future__ import annotations

from konsul.features.kv.keys import check_key, check_prefix
from konsul.features.kv.tables import FORM, Entry
from konsul.kernel.watch_spec import Spec, literal


def one(key: str) -> Spec:
    """One key, whatever characters it holds. Raises Invalid for what cannot be a key."""
    check_key(key)
    return matching(literal(key))


def below(prefix: str, needs: str = "kv:list") -> Spec:
    """Every key that starts with `prefix`. Raises Invalid for what no key can start with."""
    check_prefix(prefix)
    return matching(f"{literal(prefix)}**", needs)


def matching(pattern: str, needs: str = "kv:read", *, coalesce: bool = False) -> Spec:
    """Every key that matches."""
    return Spec(FORM, Entry.table_id, pattern, needs, coalesce=coalesce)
