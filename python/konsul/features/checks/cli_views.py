"""How `konsulctl check` shows what the server answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from konsul.cli.output import Printer, Table
from konsul.features.catalog.cli_views import healthy

COLUMNS = ("ID", "NAME", "STATUS", "TYPE", "OF", "OUTPUT")
_APART = ("id", "name", "results", "transitions", "runner", "output", "status")
_NANOSECONDS = ("interval", "timeout", "ttl")
_OUTPUT_CHARS = 60
_NEVER = "0001-01-01T00:00:00Z"


def table(checks: Sequence[Mapping[str, Any]]) -> Table:
    """A row per check."""
    return Table(COLUMNS, [_row(one) for one in checks])


def described(one: Mapping[str, Any], out: Printer) -> str:
    """One check with all that is known of it."""
    lines = [("id", one["id"]), ("name", one["name"]), ("status", out.paint(healthy(one["status"])))]
    lines.append(("output", one["output"] or "-"))
    for name, value in one.items():
        if name not in _APART and value != _NEVER:
            lines.append((name, _duration(value) if name in _NANOSECONDS else value))
    if "runner" in one:
        lines.append(("runner", one["runner"] or "-"))
    lines.append(("last results", " ".join(result["said"] for result in one.get("results", ())) or "-"))
    return "\n".join(f"{name.replace('_', ' ')}: {value}" for name, value in lines)


def told(found: Mapping[str, Any], out: Printer) -> str:
    """A history: the changes of status, then the results, both oldest first."""
    lines = [f"{found['check_id']}: {out.paint(healthy(found['status']))}"]
    if found.get("runner"):
        lines[0] += f", run by {found['runner']}"
    changes = [
        f"  {one['at']}  {one['from']} -> {one['to']}  {_line(one['output'])}" for one in found["transitions"]
    ]
    attempts = [
        f"  {one['at']}  {out.paint(healthy(one['said']))}{_held(one)}  {_line(one['output'])}"
        for one in found["results"]
    ]
    lines += ["", "Changes:", *(changes or ["  none"]), "", "Results:", *(attempts or ["  none"])]
    return "\n".join(lines)


def results(found: Mapping[str, Any]) -> Table:
    """A row per result."""
    rows = [
        [one["at"], healthy(one["said"]), healthy(one["status"]), one["took_ms"], _line(one["output"])]
        for one in found["results"]
    ]
    return Table(("AT", "SAID", "STATUS", "TOOK MS", "OUTPUT"), rows)


def _row(one: Mapping[str, Any]) -> list[object]:
    of = one.get("node") or one["service"]
    if one.get("service_id", of) != of:
        of = f"{of} {one['service_id']}"
    return [one["id"], one["name"], healthy(one["status"]), one["type"], of, _line(one["output"])]


def _held(one: Mapping[str, Any]) -> str:
    """What the check was, where that is not what the attempt said."""
    if one["said"] == one["status"]:
        return ""
    return f" ({'flapping, ' if one['flapping'] else ''}held {one['status']})"


def _line(output: str) -> str:
    first = output.partition("\n")[0]
    return first if len(first) <= _OUTPUT_CHARS else f"{first[:_OUTPUT_CHARS]}..."


def _duration(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e9:g}s"
