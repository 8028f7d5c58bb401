"""Real input: every paragraph of the package lists, every line of /etc/services."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from konsul.client import Service

SERVICES = Path("/etc/services")
UPDATE_TIMEOUT_S = 600
DUMP_TIMEOUT_S = 300
T = TypeVar("T")
NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]")


class NoInput(Exception):
    """There is nothing to read; says what to do."""


def dumpavail() -> bytes:
    """The package lists of this machine, updated first when they are empty and that is allowed.

    Raises:
        NoInput: not a Debian-like machine, or no lists and no right or network to fetch them.
    """
    found = _dump()
    if found:
        return found
    if os.geteuid() != 0:
        raise NoInput("the package lists are empty: run `apt-get update` as root, or give --packages FILE")
    try:
        subprocess.run(["apt-get", "update", "-qq"], check=True, timeout=UPDATE_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as cause:
        raise NoInput(
            f"`apt-get update` failed ({cause}): check the network, or give --packages FILE"
        ) from cause
    found = _dump()
    if not found:
        raise NoInput("the package lists are empty even after `apt-get update`: give --packages FILE")
    return found


def packages(dump: bytes, limit: int | None = None) -> dict[str, bytes]:
    """Paragraphs by key `debian/<section>/<package>`; a further version of a package gets `@<version>`
    behind it.

    At most `limit` of them, spread over the whole input so that a short run sees every kind of paragraph.
    """
    found: dict[str, bytes] = {}
    for paragraph in _spread([one for one in dump.split(b"\n\n") if one.strip()], limit):
        fields = dict(_fields(paragraph))
        key = f"debian/{fields.get('Section', 'none')}/{fields['Package']}"
        if key in found:
            key = f"{key}@{fields.get('Version', '')}"
        while key in found:
            key += "+"
        found[key] = paragraph
    return found


def services(lines: Iterable[str], limit: int | None = None) -> list[Service]:
    """One instance per line: tags are the protocol and `etc-services`, metadata the port, aliases and
    given name.

    Names hold characters that a service name may not (`whois++`): those become `-`.
    """
    entries = [line.split("#")[0].split() for line in lines]
    found: dict[tuple[str, str], Service] = {}
    for words in _spread([entry for entry in entries if len(entry) >= 2], limit):
        port, _, protocol = words[1].partition("/")
        name = NOT_IN_A_NAME.sub("-", words[0])
        instance = f"{name}.{protocol}.{port}"
        while (name, instance) in found:
            instance += ".again"
        meta = {"port": port, "protocol": protocol, "listed-as": words[0]}
        if words[2:]:
            meta["aliases"] = " ".join(words[2:])[:512]
        found[name, instance] = Service(
            name, "127.0.0.1", int(port), instance, (protocol, "etc-services"), meta
        )
    return list(found.values())


def _dump() -> bytes:
    try:
        command = ["apt-cache", "dumpavail"]
        return subprocess.run(command, capture_output=True, check=True, timeout=DUMP_TIMEOUT_S).stdout
    except FileNotFoundError:
        raise NoInput("apt-cache is missing: this needs a Debian-like machine, or --packages FILE") from None
    except subprocess.SubprocessError as cause:
        raise NoInput(f"`apt-cache dumpavail` failed: {cause}") from cause


def _fields(paragraph: bytes) -> Iterator[tuple[str, str]]:
    for line in paragraph.split(b"\n"):
        if line[:1] not in (b" ", b"\t", b""):
            name, _, value = line.partition(b":")
            yield name.decode(), value.strip().decode(errors="replace")


def _spread(items: list[T], limit: int | None) -> list[T]:
    if limit is None or limit >= len(items):
        return items
    return [items[at * len(items) // limit] for at in range(limit)]
