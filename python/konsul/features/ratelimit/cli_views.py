"""The rate limit's documents as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from konsul.cli.output import Table

Document = Mapping[str, Any]
KIND_NAMES = {"ip": "IP", "apikey": "API key", "user": "user"}
_CLIENT_COLUMNS = ("identifier", "type", "tokens", "rate", "last update")
_TOP_COLUMNS = ("identifier", "type", "requests", "denied", "denied %", "tokens", "last update")
_LIST_COLUMNS = ("identifier", "type", "reason", "added by", "added at", "expires")


def stats(document: Document) -> str:
    """Clients by kind, then how they were answered, each with its share."""
    lines = ["Rate Limit Statistics:"]
    for name, label in (
        ("ip_limiters", "IP limiters:"),
        ("apikey_limiters", "API key limiters:"),
        ("user_limiters", "User limiters:"),
    ):
        lines.append(f"  {label:<20} {document.get(name, 'off')}")
    for kind, counts in document.get("totals", {}).items():
        total = sum(counts[name] for name in ("allowed", "exceeded", "whitelisted", "blacklisted"))
        if not total:
            continue
        lines.append(f"  {KIND_NAMES.get(kind, kind)} checks:".ljust(23) + str(total))
        for name in ("allowed", "exceeded", "whitelisted", "blacklisted"):
            share = f"{counts[name]} ({100 * counts[name] / total:.1f}%)"
            lines.append(f"    {name + ':':<18} {share}")
    return "\n".join(lines)


def stats_table(document: Document) -> Table:
    """The same as a table."""
    names = ("clients", "allowed", "exceeded", "whitelisted", "blacklisted")
    totals = document.get("totals", {})
    rows = [(kind, *(counts.get(name, 0) for name in names)) for kind, counts in totals.items()]
    return Table(("type", *names), rows)


def config(document: Document) -> list[tuple[str, str]]:
    """The configuration, name and value."""
    return [
        ("Enabled:", _yes(document["enabled"])),
        ("Requests per second:", per_second(document["requests_per_sec"])),
        ("Burst:", str(document["burst"])),
        ("By IP:", _yes(document["by_ip"])),
        ("By API key:", _yes(document["by_apikey"])),
        ("Cleanup interval:", document["cleanup_interval"]),
    ]


def client(document: Document, *, capacity: bool = False) -> list[tuple[str, str]]:
    """One client as a block."""
    lines = [
        ("Identifier:", document["identifier"]),
        ("Type:", document["type"]),
    ]
    if "tokens" in document:
        lines += [
            ("Tokens:", f"{document['tokens']:.2f} / {document['max_tokens']}"),
            ("Rate:", f"{plain(document['rate'])} requests/sec"),
            ("Last update:", document["last_update"]),
        ]
    if capacity:
        lines.append(("Capacity:", f"{100 * document['tokens'] / document['max_tokens']:.0f}%"))
    return lines


def status(document: Document) -> list[tuple[str, str]]:
    """All that is known of one client, as a block."""
    lines = client(document, capacity="tokens" in document)
    if "allowed" in document:
        lines += [
            ("Allowed:", str(document["allowed"])),
            ("Denied:", str(document["denied"])),
            ("First seen:", document["first_seen"]),
        ]
    if document.get("custom_until"):
        lines.append(("Own rate until:", document["custom_until"]))
    lines.append(("Whitelisted:", _yes(document.get("whitelisted", False))))
    lines.append(("Blacklisted:", _yes(document.get("blacklisted", False))))
    return lines


def clients_table(found: Sequence[Document]) -> Table:
    """Clients, one in a row."""
    rows = [
        (
            one["identifier"],
            one["type"],
            f"{one['tokens']:.2f} / {one['max_tokens']}",
            plain(one["rate"]),
            one["last_update"],
        )
        for one in found
    ]
    return Table(_CLIENT_COLUMNS, rows)


def top_table(found: Sequence[Document]) -> Table:
    """Those who asked or were refused most, one in a row."""
    rows = []
    for one in found:
        total = one["allowed"] + one["denied"]
        share = f"{100 * one['denied'] / total:.1f}" if total else "0.0"
        tokens = f"{one['tokens']:.2f} / {one['max_tokens']}"
        rows.append((one["identifier"], one["type"], total, one["denied"], share, tokens, one["last_update"]))
    return Table(_TOP_COLUMNS, rows)


def entry(document: Document) -> list[tuple[str, str]]:
    """An entry of a list as a block."""
    return [
        ("Reason:", document.get("reason") or "-"),
        ("Added by:", document["added_by"]),
        ("Added at:", document["added_at"]),
        ("Expires:", document.get("expires_at") or "Never"),
    ]


def entries_table(found: Sequence[Document]) -> Table:
    """Entries of a list, one in a row."""
    rows = [
        (
            one["identifier"],
            one["type"],
            one.get("reason") or "-",
            one["added_by"],
            one["added_at"],
            one.get("expires_at") or "Never",
        )
        for one in found
    ]
    return Table(_LIST_COLUMNS, rows)


def event(document: Document) -> str:
    """One refusal as a line."""
    who = f"{document['type']}:{document['identifier']}"
    left = f"tokens {document['tokens']:.2f}, cost {document['cost']}"
    return f"{document['time']}  {document['status']}  {who}  {document['class']}  {left}"


def block(rows: Sequence[tuple[str, str]], indent: str = "  ") -> list[str]:
    """Names and values under one another."""
    width = max(len(name) for name, _ in rows)
    return [f"{indent}{name:<{width}} {value}" for name, value in rows]


def per_second(value: float) -> str:
    """A rate with one decimal, or with all it has."""
    return max(f"{value:.1f}", plain(value), key=len)


def plain(value: float) -> str:
    """A number without a fraction it does not have."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _yes(value: object) -> str:
    return "true" if value else "false"
