"""A cluster as it is shipped: the release build, nodes that reach each other directly, defaults in force."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.harness.cluster import LIGHT, Cluster

PROFILES = os.environ.get("KONSUL_BENCH_PROFILES", "default,fast").split(",")


@contextmanager
def cluster(
    interpreter: str, folder: Path, profile: str, settings: Mapping[str, str] | None = None
) -> Iterator[Cluster]:
    """Three ready nodes; `settings` beyond the profile are for what is measured only."""
    # An empty text counts as unset: what keeps test clusters light is taken back.
    given = dict.fromkeys(LIGHT, "") | {"KONSUL_RAFT_PROFILE": profile, "KONSUL_LOG_FORMAT": "json"}
    made = Cluster(folder, settings=given | dict(settings or {}), through_links=False)
    for node in made.nodes.values():
        node.python = interpreter
    with made:
        made.until_alike()
        yield made


def at(ordered: list[float], share: float) -> float:
    """A percentile of sorted figures: the smallest that so many of them do not pass."""
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]
