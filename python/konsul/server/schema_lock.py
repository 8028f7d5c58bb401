"""`python -m konsul.server.schema_lock [--write]`: checks or updates the lock file of stored tables."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from konsul.features import FEATURES
from konsul.kernel.feature import load_all
from konsul.kernel.schema_lock import check, write


def main(argv: Sequence[str]) -> int:
    """Prints what is wrong; 1 if there is something."""
    tables = [row for feature in load_all(FEATURES) for row in feature.tables]
    problems = write(tables) if "--write" in argv else check(tables)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
