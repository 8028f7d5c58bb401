"""What a feature is: one folder with fixed file names that declares itself once, and one word in FEATURES."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

from konsul.kernel.command import AnyVerb

if TYPE_CHECKING:
    from konsul.engine import Shape
    from konsul.kernel.config import Settings
    from konsul.kernel.graph import Graph
    from konsul.kernel.lifecycle import Service
    from konsul.kernel.metrics import Metric
    from konsul.kernel.names import Resolver
    from konsul.kernel.node import Kernel
    from konsul.kernel.routing import Router
    from konsul.kernel.schema import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """Everything a feature brings; each part absent when there is nothing to say."""

    name: str
    tables: tuple[type[Row], ...] = ()
    commands: tuple[AnyVerb, ...] = ()
    queries: tuple[AnyVerb, ...] = ()
    router: Router | None = None
    cli: tuple[object, ...] = ()
    services: tuple[type[Service], ...] = ()
    config: type[Settings] | None = None
    metrics: tuple[Metric, ...] = ()
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    """Compiled answers for routes the HTTP front serves by itself, by the name the front knows."""
    graphql: Graph | None = None
    names: Mapping[str, Resolver] = field(default_factory=dict)
    """What it answers to in the DNS domain, by label: `service` of `web.service.consul`."""
    install: Callable[[Kernel], None] | None = None
    """Called once when the node is composed, before anything starts: fills slots of the pipeline."""


def load(word: str) -> Feature:
    """The feature of `konsul.features.<word>.feature`. Raises TypeError if the module declares none."""
    declared = getattr(import_module(f"konsul.features.{word}.feature"), "feature", None)
    if not isinstance(declared, Feature) or declared.name != word:
        raise TypeError(f"konsul.features.{word}.feature must hold `feature = Feature(name={word!r}, ...)`")
    return declared


def load_all(words: Iterable[str | Feature]) -> tuple[Feature, ...]:
    """The features in order, given by word or as themselves. Raises TypeError on a verb two of them bring."""
    features = tuple(word if isinstance(word, Feature) else load(word) for word in words)
    owners: dict[str, str] = {}
    for feature in features:
        for verb in (*feature.commands, *feature.queries):
            owner = owners.setdefault(verb.name, feature.name)
            if owner != feature.name:
                raise TypeError(f"verb {verb.name} belongs to {owner}, not also to {feature.name}")
    return features
