"""How konsulctl shows what policies decide. Knows nothing of the server's side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS = ("policy", "source", "rule", "pattern", "capabilities", "effect", "decides")


def verdict(allowed: bool) -> str:
    """In one word."""
    return "ALLOWED ✓" if allowed else "DENIED ✗"


def tried(policies: Sequence[str], resource: str, path: str, capability: str, result: str) -> str:
    """The block of `acl test`."""
    return "\n".join(
        (
            "ACL Test:",
            f"  Policies:   {', '.join(policies)}",
            f"  Resource:   {resource}",
            f"  Path:       {path}",
            f"  Capability: {capability}",
            f"  Result:     {result}",
        )
    )


def problem(one: Mapping[str, Any]) -> str:
    """One problem of a document as a line."""
    at, text, value = one.get("at", ""), one.get("problem", ""), one.get("value", "")
    if not at:
        return str(text)
    return f"{at} is {value}: {text}" if value else f"{at}: {text}"


def rule_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """The rules that match, one line each; the one that decides is marked."""
    return [
        [
            ">" if rule["decides"] else " ",
            f"{rule['policy']} {rule['rule']}",
            str(rule["pattern"] or "-"),
            ", ".join(rule["capabilities"]),
            _effect(rule),
        ]
        for rule in found["matching"]
    ] or [["", "none", "", "", ""]]


def table_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """The rules that match, as a table."""
    return [
        [
            str(rule["policy"]),
            str(rule["source"]),
            str(rule["rule"]),
            str(rule["pattern"]),
            ",".join(rule["capabilities"]),
            str(rule["effect"]),
            "yes" if rule["decides"] else "",
        ]
        for rule in found["matching"]
    ]


def explanation(found: Mapping[str, Any], result: str, rules: Sequence[str]) -> str:
    """The block of `acl explain`."""
    subject = found["subject"]
    what = f"{found['resource']}:{found['capability']}" + (f" on {found['path']}" if found["path"] else "")
    lines = [
        f"{result}  {what}",
        f"  Subject:  {_subject(subject)}",
        f"  Policies: {', '.join(subject['policies']) or 'none'}",
        f"  Because:  {found['reason']}",
        f"  Default:  {found['default_policy']}",
    ]
    if found["unknown_policies"]:
        lines.append(f"  Unknown:  {', '.join(found['unknown_policies'])}")
    return "\n".join([*lines, "", "Rules that match:", *(f"  {line}".rstrip() for line in rules)])


def _subject(subject: Mapping[str, Any]) -> str:
    words = {"policies": "whoever has these policies", "document": "whoever has this document"}
    kind = str(subject["kind"])
    if kind in words:
        return words[kind]
    named = " ".join(filter(None, (kind.replace("_", " "), str(subject["id"]))))
    roles = ", ".join(subject["roles"])
    return f"{named} ({roles})" if roles else named


def _effect(rule: Mapping[str, Any]) -> str:
    return {"deny": "denies", "allow": "allows", "none": "grants something else"}[str(rule["effect"])]
