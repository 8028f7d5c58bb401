"""Rules for rooms and words: notes at every door, links that lead somewhere, nothing of anybody's machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from tests.tidy.tree import ROOT, Source, sources

README_LINES_MAX = 60
HEADINGS = ["Purpose", "Owns", "Never here", "The walk", "Read next"]
# A crate is one room, its note stands beside its Cargo.toml; so are an extension package and a room of tests.
INSIDE_ANOTHER_ROOM = re.compile(r"^core/[^/]+/.+|^ext/konsul_ext$|^python$|^tests/[^/]+/.+|^deploy/.+")
MACHINE = re.compile(r"(?<![\w.])/(?:work|root|home)/\w|/tmp/(?:contract|scratch|target-)")
# Written apart for the same reason as in code.py.
REGISTRY = re.compile(r"\b(?:pypi" + r"\.org|pythonhosted" + r"\.org|static\.crates" + r"\.io|registry\.npm)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NAMED = re.compile(r"`((?:core|ext|python|tests|docs|benches|loadtests|deploy)/[\w./-]+)`")
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def rooms() -> list[str]:
    """Folders that hold code, by path."""
    folders = {str(PurePosixPath(s.path).parent) for s in sources() if s.is_code} - {".", ".ci"}
    crates = {f"core/{PurePosixPath(f).parts[1]}" for f in folders if f.startswith("core/")}
    return sorted({f for f in folders if not INSIDE_ANOTHER_ROOM.match(f)} | crates)


def rooms_without_a_note() -> Iterator[str]:
    for room in rooms():
        if not (ROOT / room / "README.md").is_file():
            yield f"{room}: no README.md"


def notes_of_another_shape() -> Iterator[str]:
    for room in rooms():
        note = ROOT / room / "README.md"
        if not note.is_file():
            continue
        lines = note.read_text(encoding="utf-8").splitlines()
        headings = [line.lstrip("# ").strip() for line in lines if line.startswith("## ")]
        if headings != HEADINGS:
            yield f"{room}/README.md: its headings are {headings}, not {HEADINGS}"
        if len(lines) > README_LINES_MAX:
            yield f"{room}/README.md: {len(lines)} lines, at most {README_LINES_MAX}"


def machine_paths_and_hosts() -> Iterator[str]:
    for source in sources():
        if source.path.endswith(".lock") or source.path == "tests/tidy/rooms.py":
            continue
        for number, line in enumerate(source.lines, 1):
            if MACHINE.search(line) or REGISTRY.search(line):
                yield f"{source.path}:{number}: names a machine's path or a registry: {line.strip()}"


def dead_links() -> Iterator[str]:
    for source in sources():
        if source.suffix != ".md":
            continue
        for target in LINK.findall(FENCE.sub("", source.text)):
            problem = _dead(source, target)
            if problem:
                yield f"{source.path}: {problem}"


def names_of_nothing() -> Iterator[str]:
    """A page that walks through the code must name files that are there."""
    for source in sources():
        if source.suffix == ".md":
            for name in NAMED.findall(source.text):
                if not any((root / name).exists() for root in (ROOT, (ROOT / source.path).parent)):
                    yield f"{source.path}: {name} is not there"


def _dead(source: Source, target: str) -> str | None:
    if target.startswith(("http://", "https://", "mailto:")):
        return None
    name, _, anchor = target.partition("#")
    path = (ROOT / source.path).parent / name if name else ROOT / source.path
    if not path.exists():
        return f"{target} leads nowhere"
    if anchor and path.suffix == ".md" and anchor not in _anchors(path.read_text(encoding="utf-8")):
        return f"{target}: no such heading"
    return None


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+\s+(.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def decisions_nobody_finds() -> Iterator[str]:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    for page in sorted(folder.glob("*.md")):
        if page.name != "README.md" and f"({page.name})" not in index:
            yield f"docs/decisions/README.md has no line for {page.name}"


def missing_pages() -> Iterator[str]:
    pages = (
        "start",
        "concepts",
        "operate",
        *(f"reference/{n}" for n in ("http", "cli", "config", "metrics")),
    )
    for page in ("README.md", "CHANGELOG.md", "LICENSE", *(f"docs/{name}.md" for name in pages)):
        if not (ROOT / page).is_file():
            yield f"{page} is missing"


RULES = (
    rooms_without_a_note,
    notes_of_another_shape,
    machine_paths_and_hosts,
    dead_links,
    names_of_nothing,
    decisions_nobody_finds,
    missing_pages,
)
