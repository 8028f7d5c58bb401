"""Settings of searches: how much one may look at."""

from __future__ import annotations

from konsul.kernel.config import Settings, between, setting
from konsul.kernel.values import INT


class SearchSettings(Settings):
    """Listings of services, nodes and checks with a filter, an order or a page."""

    rows_max: int = setting(
        "KONSUL_QUERY_MAX_ROWS",
        INT,
        default=10_000,
        doc="Most rows a search looks at; then it answers what it found and where to go on.",
        check=between(1_000, 1_000_000),
    )
    sort_max_rows: int = setting(
        "KONSUL_QUERY_SORT_MAX_ROWS",
        INT,
        default=10_000,
        doc="Most rows a search that sorts looks at; if there are more it is refused with 400.",
        check=between(1, 1_000_000),
    )
