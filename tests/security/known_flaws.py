"""Asks pip-audit about every installed package and says the truth about the answer: what was looked up, what
could not be, what is known to be flawed. `make deps` runs it.

Exit status: 0 nothing known, 1 a flaw that `EXPLAINED` does not name, 2 nothing at all could be looked up.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

WITHIN_S = 600
EXPLAINED: Final[Mapping[str, str]] = {}
"""Id of an advisory -> why it does not concern us. One that is no longer reported must go."""


@dataclass(frozen=True)
class Report:
    """What pip-audit found out."""

    looked_up: tuple[str, ...]
    unknown: tuple[str, ...]
    """Packages that no advisory service told about."""
    flaws: tuple[tuple[str, str], ...]
    """`(package and version, id of the advisory)`."""


def read(text: str) -> Report:
    """Reads pip-audit's JSON. Raises ValueError, KeyError if it is none."""
    found: list[dict[str, Any]] = json.loads(text)["dependencies"]
    own = ("konsul", "konsul-ext")
    known = [one for one in found if "skip_reason" not in one]
    return Report(
        tuple(one["name"] for one in known),
        tuple(one["name"] for one in found if "skip_reason" in one and one["name"] not in own),
        tuple((f"{one['name']} {one['version']}", flaw["id"]) for one in known for flaw in one["vulns"]),
    )


def judge(report: Report, explained: Mapping[str, str] = EXPLAINED) -> tuple[int, list[str]]:
    """The exit status, and what to say."""
    said = [f"pip-audit: {len(report.looked_up)} packages looked up, {len(report.unknown)} not"]
    open_flaws = [(package, flaw) for package, flaw in report.flaws if flaw not in explained]
    said += [f"  {package}: {flaw}" for package, flaw in open_flaws]
    said += [
        f"  {package}: {flaw}, explained: {explained[flaw]}"
        for package, flaw in report.flaws
        if flaw in explained
    ]
    stale = set(explained) - {flaw for _, flaw in report.flaws}
    if open_flaws:
        return 1, said
    if not report.looked_up:
        return 2, [*said, "  no advisory service could be asked: this is not a clean bill of health"]
    if stale:
        return 1, [*said, *(f"  {flaw} is explained and no longer reported" for flaw in sorted(stale))]
    return 0, said


def main() -> int:
    command = [sys.executable, "-m", "pip_audit", "--progress-spinner", "off", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    try:
        status, said = judge(read(done.stdout))
    except (ValueError, KeyError):
        print(f"pip-audit could not run:\n{done.stderr[-2_000:]}", file=sys.stderr)
        return 2
    print("\n".join(said))
    return status


if __name__ == "__main__":
    sys.exit(main())
