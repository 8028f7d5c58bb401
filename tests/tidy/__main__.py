"""Prints every broken rule of the house; exit status 1 if there is one. `make check` runs it."""

from __future__ import annotations

import sys

from tests.tidy import code, rooms


def main() -> int:
    problems = [line for rule in (*code.RULES, *rooms.RULES) for line in rule()]
    for line in problems:
        print(line)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
