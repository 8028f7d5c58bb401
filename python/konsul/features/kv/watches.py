"""What of the keys can be watched."""

from __future__ import annotations

from konsul.features.kv.keys import check_key, check_prefix
from konsul.features.kv.tables import FORM, Entry
from konsul.kernel.polling import literally
from konsul.kernel.watching import Spec


def one(key: str) -> Spec:
    """One key, whatever characters it holds. Raises Invalid for what cannot be a key."""
    check_key(key)
    return Spec(FORM, Entry.table_id, literally(key))


def below(prefix: str) -> Spec:
    """Every key that starts with `prefix`. Raises Invalid for what no key can start with."""
    check_prefix(prefix)
    return Spec(FORM, Entry.table_id, literally(prefix) + "**", "kv:list")
