"""The declared tables are the frozen ones."""

from __future__ import annotations

from konsul.features import FEATURES
from konsul.kernel.feature import load_all
from konsul.kernel.schema_lock import check


def test_declared_tables_agree_with_the_lock_file() -> None:
    problems = check(row for feature in load_all(FEATURES) for row in feature.tables)
    assert not problems, "\n".join(problems)
