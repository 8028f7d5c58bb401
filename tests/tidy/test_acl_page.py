"""What the page about policies shows works as it is printed, and decides as its table says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from konsul.engine import Access
from konsul.features.acl.documents import parsed
from konsul.features.acl.policy import CAPABILITIES
from tests.doors.guarded import Guarded, guarded
from tests.tidy.test_tour import BLOCK
from tests.tidy.tree import ROOT

PAGE = (ROOT / "docs" / "reference" / "acl.md").read_text(encoding="utf-8")
DOCUMENT = re.findall(r"^```json\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[0]
PRINTED = re.findall(r"^```text\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[0]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(tmp_path_factory.mktemp("page")) as found:
        yield found


def test_the_shown_commands_work_and_print_what_is_shown(node: Guarded, tmp_path: Path) -> None:
    (tmp_path / "shop.json").write_text(DOCUMENT)
    key = tmp_path / "root.key"
    key.write_text(node.key)
    key.chmod(0o600)
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "KONSUL_SERVER": node.server.base_url,
        "KONSUL_API_KEY_FILE": str(key),
        "HOME": str(tmp_path),
        "NO_COLOR": "1",
    }
    said: list[str] = []
    for block in BLOCK.findall(PAGE):
        for line in block.splitlines():
            words = shlex.split(line.removeprefix("$ "))
            done = subprocess.run(
                words, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            said.append(done.stdout)
    assert len(said) >= 8
    assert PRINTED in said


def table(first: str) -> list[list[str]]:
    """The cells of the table whose first heading is `first`."""
    lines = PAGE.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = [lines[start]]
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(line)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_table_of_patterns_is_true() -> None:
    heading, *rows = table("pattern")
    keys = [cell.strip("`") for cell in heading[1:]]
    assert len(rows) >= 7
    for row in rows:
        access, pattern = Access(), row[0].strip("`")
        access.set([("p", [("kv", pattern, ["read"])])], False)
        decided = [access.grant(["p"]).decide("kv:read", key)[0] == 1 for key in keys]
        assert decided == [cell == "yes" for cell in row[1:]], pattern


def test_the_table_of_resources_is_whole() -> None:
    shown = {
        resource: re.findall(r"`([a-z]+)`", row[2])
        for row in table("resource")[1:]
        for resource in re.findall(r"`([a-z]+)`", row[0])
    }
    assert shown == {resource: list(known) for resource, known in CAPABILITIES.items()}


def test_the_shown_document_is_a_policy() -> None:
    assert parsed(DOCUMENT.encode()).name == "shop"
