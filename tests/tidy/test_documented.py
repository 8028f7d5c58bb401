"""What a user can set, call or type stands in the reference; what is generated is what the program says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from konsul.cli import discover
from konsul.features import FEATURES
from konsul.kernel.feature import load_all
from tests.tidy.tree import ROOT

HEAD_GOES_WITH_GET = {"HEAD"}


def page(name: str) -> str:
    return (ROOT / "docs" / "reference" / f"{name}.md").read_text(encoding="utf-8")


def routes() -> Iterator[str]:
    for feature in load_all(FEATURES):
        for route in feature.router.routes if feature.router else ():
            path = route.path.replace(":path}", "}")  # type: ignore[attr-defined]
            for method in route.methods - HEAD_GOES_WITH_GET:  # type: ignore[attr-defined]
                yield f"{method} {path}"


def test_every_route_is_in_the_http_reference() -> None:
    text = page("http")
    assert [route for route in sorted(set(routes())) if f"`{route}`" not in text] == []


def test_the_settings_page_is_what_the_program_prints() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "konsul.server", "config", "reference"],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    ).stdout
    assert printed.strip() in page("config"), "run: konsul config reference, and put it into the page"


def commands() -> Iterator[str]:
    for name in discover.names():
        found = discover.find(name)
        assert found is not None
        below = getattr(found.build(), "commands", None)
        if below is None:
            yield f"konsulctl {name}"
        else:
            yield from (f"konsulctl {name} {action}" for action, made in below.items() if not made.hidden)


def test_every_konsulctl_command_is_in_its_reference() -> None:
    text = page("cli")
    assert [command for command in commands() if f"`{command}" not in text] == []
