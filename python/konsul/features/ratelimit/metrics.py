"""What the rate limits show to Prometheus: counted natively, read at the scrape."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family

from konsul.features.ratelimit.limiting import KINDS, limiting_of
from konsul.kernel.metrics import Metric, Source

_STATUSES: Final = ("allowed", "exceeded", "whitelisted", "blacklisted")


class _RateLimits:
    """Nothing while the limits are off."""

    def families(self, source: Source) -> Iterable[Family]:
        """Checks by answer, refusals, and who has a bucket, each by kind of client."""
        limiting = limiting_of(source.engine)
        if limiting is None:
            return
        requests = CounterMetricFamily(
            "konsul_rate_limit_requests_total",
            "Checks of the rate limit by kind of client and answer.",
            labels=("limiter_type", "status"),
        )
        exceeded = CounterMetricFamily(
            "konsul_rate_limit_exceeded_total",
            "Requests refused for their rate or by the blacklist.",
            labels=("limiter_type",),
        )
        active = GaugeMetricFamily(
            "konsul_rate_limit_active_clients", "Clients with a bucket.", labels=("limiter_type",)
        )
        for kind, (clients, *counts) in zip(KINDS, limiting.native.stats(), strict=True):
            for status, count in zip(_STATUSES, counts, strict=True):
                requests.add_metric((kind, status), count)
            exceeded.add_metric((kind,), counts[1] + counts[3])
            active.add_metric((kind,), clients)
        yield requests
        yield exceeded
        yield active


METRICS: Final[tuple[Metric, ...]] = (_RateLimits(),)
