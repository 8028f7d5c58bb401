"""Decisions and policies as metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family

from konsul.features.acl.book import book_of
from konsul.features.acl.guard import DURATIONS_S, TIMED_EVERY, guard_of
from konsul.kernel.metrics import Metric, Source


class _Acl:
    """Read from the node's policies and from what decides, at each scrape; nothing while the ACL is off."""

    def families(self, source: Source) -> Iterable[Family]:
        """Policies in force, errors, decisions and how long they take."""
        book, guard = book_of(source.engine), guard_of(source.engine)
        yield GaugeMetricFamily(
            "konsul_acl_policies_loaded",
            "Policies in force, of the API and of the directory.",
            value=0 if book is None else len(book.names()),
        )
        yield CounterMetricFamily(
            "konsul_acl_policy_load_errors",
            "Policy files and stored policies that could not be used.",
            value=0 if book is None else book.load_errors,
        )
        if guard is None:
            return
        decisions = CounterMetricFamily(
            "konsul_acl_evaluations",
            "Decisions about what policies allow.",
            labels=("resource_type", "capability", "result"),
        )
        for result, counts in (("allow", guard.allowed), ("deny", guard.denied)):
            for needs, count in sorted(counts.items()):
                resource, _, capability = needs.partition(":")
                decisions.add_metric((resource, capability, result), count)
        yield decisions
        took = HistogramMetricFamily(
            "konsul_acl_evaluation_duration_seconds",
            f"Time a decision takes; one of {TIMED_EVERY} is measured.",
            labels=("resource_type",),
        )
        for resource, timed in sorted(guard.timed.items()):
            buckets = [(str(bound), timed.upto(bound)) for bound in DURATIONS_S]
            took.add_metric((resource,), [*buckets, ("+Inf", timed.count)], timed.sum_s)
        yield took


METRICS: Final[tuple[Metric, ...]] = (_Acl(),)
