"""The OpenAPI document says of every operation what it needs, and how credentials are brought."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from konsul.doors.http.app import create_app
from konsul.engine import Engine, Options
from konsul.features import FEATURES
from konsul.kernel.config import load
from konsul.kernel.feature import Feature, load_all
from konsul.kernel.node import Kernel
from konsul.kernel.pipeline import AUTHENTICATED, PUBLIC
from konsul.kernel.routing import Route
from konsul.kernel.settings import GROUPS

FOUND = load_all(FEATURES)


def document(folder: Path, **environ: str) -> dict[str, Any]:
    """Of a node that is composed, and never started."""
    bare = tuple(Feature(name=each.name, router=each.router) for each in FOUND)
    kernel = Kernel(
        Engine(Options(data_dir=str(folder), backend="memory")), load(GROUPS, environ=environ), bare
    )
    return create_app(kernel).openapi()


def operations(found: dict[str, Any]) -> list[tuple[Route, dict[str, Any]]]:
    return [
        (route, found["paths"][route.path_format][method.lower()])
        for feature in FOUND
        for route in (feature.router.routes if feature.router else ())
        if isinstance(route, Route) and route.include_in_schema
        for method in route.methods or ()
    ]


def test_with_auth_off_there_are_needs_and_no_schemes(tmp_path: Path) -> None:
    found = document(tmp_path)
    assert "securitySchemes" not in found.get("components", {})
    for route, operation in operations(found):
        assert operation.get("x-konsul-needs", route.needs) == route.needs
        assert ("x-konsul-needs" in operation) == (route.needs not in (PUBLIC, AUTHENTICATED))
        assert "security" not in operation
        assert "429" in operation["responses"]


@pytest.mark.parametrize("required", ["true", "false"])
def test_with_auth_on_every_operation_says_how_to_bring_credentials(tmp_path: Path, required: str) -> None:
    found = document(tmp_path, KONSUL_AUTH_ENABLED="true", KONSUL_REQUIRE_AUTH=required)
    assert set(found["components"]["securitySchemes"]) == {"bearer", "apiKey"}
    for route, operation in operations(found):
        if route.needs == PUBLIC:
            assert operation["security"] == []
            continue
        assert ({} in operation["security"]) == (required == "false")
        assert operation["security"][-2:] == [{"bearer": []}, {"apiKey": []}]
        assert {"401", "403", "429"} <= set(operation["responses"])
