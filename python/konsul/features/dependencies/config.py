"""Settings of the dependencies: how many there may be."""

from __future__ import annotations

from konsul.kernel.config import Settings, between, setting
from konsul.kernel.values import INT


class DependencySettings(Settings):
    """Limits of what services declare to need."""

    per_service_max: int = setting(
        "KONSUL_DEPENDENCIES_MAX_PER_SERVICE",
        INT,
        default=64,
        doc="Most services that one service may declare to depend on.",
        check=between(1, 1_000),
    )
    edges_max: int = setting(
        "KONSUL_DEPENDENCIES_MAX_EDGES",
        INT,
        default=10_000,
        doc="Most dependencies of all services together; one more is refused with 409.",
        check=between(1, 100_000),
    )
