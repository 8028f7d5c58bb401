"""What a user can set, call or type stands in the reference; what is generated is what the program says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from konsul.features import FEATURES
from konsul.kernel.feature import load_all
from tests.tidy import pages

HEAD_GOES_WITH_GET = {"HEAD"}


def routes() -> Iterator[str]:
    for feature in load_all(FEATURES):
        for route in feature.router.routes if feature.router else ():
            path = route.path.replace(":path}", "}")  # type: ignore[attr-defined]
            for method in route.methods - HEAD_GOES_WITH_GET:  # type: ignore[attr-defined]
                yield f"{method} {path}"


def test_every_route_is_in_the_http_reference() -> None:
    text = (pages.REFERENCE / "http.md").read_text(encoding="utf-8")
    assert [route for route in sorted(set(routes())) if f"`{route}`" not in text] == []


@pytest.mark.parametrize("name", pages.PARTS)
def test_the_generated_parts_are_what_the_program_says(name: str) -> None:
    path = pages.REFERENCE / name
    assert path.read_text(encoding="utf-8") == pages.renewed(path), "run: make fix"


@pytest.mark.parametrize("name", pages.WHOLE)
def test_the_generated_files_are_what_the_program_says(name: str) -> None:
    assert (pages.REFERENCE / name).read_text(encoding="utf-8") == pages.WHOLE[name](), "run: make fix"


def test_konsul_prints_its_settings() -> None:
    command = [sys.executable, "-m", "konsul.server", "config", "reference"]
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60)
    assert done.stdout.strip() == pages.settings_table().strip()
