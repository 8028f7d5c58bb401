"""Settings of prepared queries."""

from __future__ import annotations

from konsul.kernel.config import Settings, between, setting
from konsul.kernel.values import INT


class PreparedSettings(Settings):
    """Prepared queries."""

    most: int = setting(
        "KONSUL_PREPARED_QUERIES_MAX",
        INT,
        default=10_000,
        doc="Most prepared queries of the cluster.",
        check=between(1, 100_000),
    )
