"""`python -m tests.toy.run [ctl ARGUMENTS...]`: the server, or konsulctl, with a folder and a word more."""

from __future__ import annotations

import sys
from pathlib import Path

import konsul.features

WORD = "notes"


def add_the_toy() -> None:
    """What copying the folder into `features/` and adding the word to FEATURES would do."""
    konsul.features.__path__.append(str(Path(__file__).parent / "extra"))
    konsul.features.FEATURES += (WORD,)


def main() -> None:
    """Runs what the arguments ask for."""
    add_the_toy()
    if sys.argv[1:2] == ["ctl"]:
        from konsul.cli.main import run

        sys.exit(run(sys.argv[2:]))
    from konsul.server.main import main as serve

    serve()


if __name__ == "__main__":
    main()
