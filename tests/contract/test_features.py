"""Every feature keeps the promises that features make, whatever it does."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

import pytest
from fastapi.dependencies.models import Dependant

from konsul.features import FEATURES
from konsul.kernel.command import VERBS, AnyVerb
from konsul.kernel.feature import Feature, load_all
from konsul.kernel.pipeline import AUTHENTICATED, PUBLIC
from konsul.kernel.routing import Route, Router

ALL = load_all(FEATURES)
CAPABILITIES = frozenset(
    [f"kv:{one}" for one in ("read", "write", "list", "delete")]
    + [f"service:{one}" for one in ("read", "write", "list", "register", "deregister")]
)
DECLARED = [verb for feature in ALL for verb in (*feature.commands, *feature.queries)]


def test_no_verb_of_a_feature_is_left_out_of_its_declaration() -> None:
    from_features = {
        name for name, verb in VERBS.items() if verb.call.__module__.startswith("konsul.features.")
    }
    assert from_features == {verb.name for verb in DECLARED}


@pytest.mark.parametrize("verb", DECLARED, ids=lambda verb: verb.name)
def test_a_verb_is_named_documented_and_authorised(verb: AnyVerb) -> None:
    assert re.fullmatch(r"[a-z]+(\.[a-z_]+)+", verb.name)
    assert verb.needs in (PUBLIC, AUTHENTICATED) or re.fullmatch(r"[a-z]+:[a-z]+", verb.needs)
    assert verb.doc


@pytest.mark.parametrize("feature", ALL, ids=lambda feature: feature.name)
def test_a_route_is_documented_and_ignores_case(feature: Feature) -> None:
    for route in feature.router.routes if feature.router else ():
        assert isinstance(route, Route)
        assert route.path_regex.flags & re.IGNORECASE
        assert route.description or route.summary, route.path


def _called_for(dependant: Dependant) -> list[Callable[..., object]]:
    below = [call for one in dependant.dependencies for call in _called_for(one)]
    return below if dependant.call is None else [dependant.call, *below]


@pytest.mark.parametrize("feature", ALL, ids=lambda feature: feature.name)
def test_no_request_goes_to_a_thread_and_back(feature: Feature) -> None:
    # As FastAPI sends what is no coroutine: two switches per request, and a pool of 40 that all share.
    for route in feature.router.routes if feature.router else ():
        assert isinstance(route, Route)
        for call in _called_for(route.dependant):
            assert inspect.iscoroutinefunction(call), f"{route.path} calls {call}"


def test_only_where_credentials_are_come_by_nobody_needs_any() -> None:
    public = {
        (method, route.path)
        for feature in ALL
        for route in (feature.router.routes if feature.router else ())
        if isinstance(route, Route) and route.needs == PUBLIC
        for method in route.methods or ()
    }
    assert public == {
        ("POST", "/auth/login"),
        ("POST", "/auth/refresh"),
        ("POST", "/auth/bootstrap"),
        ("GET", "/auth/jwks"),
        ("GET", "/.well-known/jwks.json"),
    }
    assert {verb.needs for verb in DECLARED if verb.name.startswith(("kv.", "service."))} <= CAPABILITIES


def test_a_route_without_a_need_cannot_be_declared() -> None:
    router = Router()
    with pytest.raises(TypeError, match="needs"):
        router.get("/x")  # type: ignore[call-arg]
    for needs in ("", "everything", "kv:", "KV:read"):
        with pytest.raises(TypeError, match="expected public, authenticated or resource:capability"):
            router.get("/x", needs=needs)(_endpoint)
    with pytest.raises(TypeError, match="compared as they are written"):
        router.get("/x/{name}", needs=PUBLIC)(_endpoint)


async def _endpoint() -> None: ...
