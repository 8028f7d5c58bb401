"""What features declare and what core, HTTP front and pipeline counted, as one Prometheus page.

Nothing is counted twice: hot paths bump plain integers, and a scrape turns them into samples.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric as Family

if TYPE_CHECKING:
    from konsul.engine import Engine
    from konsul.kernel.lines import Lines
    from konsul.kernel.pipeline import Tally
    from konsul.kernel.watching import Watching

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
NAMESPACE: Final = "konsul_"
_UNCOUNTED_ROUTES: Final = frozenset(("/metrics",))
_RAFT_HELP: Final[Mapping[str, str]] = {
    "raft_state": "Role of this node: 0 follower, 1 leader, 2 candidate.",
    "raft_is_leader": "1 if this node leads.",
    "raft_peers_total": "Configured members, this one included.",
    "raft_last_index": "Last position of the log.",
    "raft_commit_index": "Last committed position of the log.",
    "raft_applied_index": "Last applied position of the log.",
    "raft_replication_lag": "Entries in the log that are not applied here yet.",
    "raft_fsm_pending": "Entries waiting to be applied.",
    "raft_leader_changes_total": "Times this node gained or lost leadership.",
    "raft_commit_time_seconds": "From proposal to commit.",
    "raft_apply_time_seconds": "Applying one batch.",
    "raft_log_entries_total": "Entries appended to the log.",
    "raft_log_size_bytes": "Size of the log on disk.",
    "raft_snapshot_total": "Snapshots taken.",
    "raft_snapshot_duration_seconds": "Taking one snapshot.",
    "raft_net_bytes_sent_total": "Bytes sent to peers.",
    "raft_net_bytes_received_total": "Bytes received from peers.",
    "raft_net_frames_dropped_full_total": "Frames dropped because too much waited for their peer.",
    "raft_net_frames_dropped_unconnected_total": "Frames dropped because their peer was not connected.",
    "raft_net_reconnects_total": "Connections to members made again after they were lost.",
}
_ALIASES: Final[Mapping[str, str]] = {
    "raft_commit_time_seconds": "raft_commit_duration_seconds",
    "raft_apply_time_seconds": "raft_apply_duration_seconds",
}
"""Names that existing dashboards ask for."""


class FrontCounters(Protocol):
    """What the HTTP front counted; see `konsul_ext.front.Snapshot`."""

    def snapshot(self) -> Mapping[str, Any]: ...


class ListenerCounters(Protocol):
    """What the HTTP listener counted, by the names of `konsul.server.listener.Listener.stats`."""

    def stats(self) -> Mapping[str, int]: ...


class Source:
    """What declared metrics read from during one scrape."""

    def __init__(self, engine: Engine, tally: Tally, front: Mapping[str, Any]) -> None:
        self.engine = engine
        self.tally = tally
        self.front = front
        self.watching: Watching | None = None
        self.lines: Lines | None = None
        self.listener: Mapping[str, int] = {}
        self.native: Mapping[str, Any] = engine.metrics()

    def operations(self) -> dict[tuple[str, str], int]:
        """`(verb, outcome)` -> times, by the pipeline and by the front's short cuts together."""
        counts = dict(self.tally.counts)
        for verb, outcome, count in self.front.get("operations", ()):
            counts[verb, outcome] = counts.get((verb, outcome), 0) + count
        return counts


class Declared(Protocol):
    """A metric computed when it is scraped."""

    def families(self, source: Source) -> Iterable[Family]: ...


Metric: TypeAlias = "Declared | MetricWrapperBase"
"""What `Feature.metrics` holds: a declaration from here, or a prometheus-client metric without a registry."""


@dataclass(frozen=True, slots=True)
class OperationCounter:
    """Counts verbs as `name{operation,status}`; `operations` maps verb names to the operation label."""

    name: str
    documentation: str
    operations: Mapping[str, str]

    def families(self, source: Source) -> Iterable[Family]:
        """One sample per verb and outcome seen so far."""
        family = CounterMetricFamily(self.name, self.documentation, labels=("operation", "status"))
        totals: dict[tuple[str, str], int] = {}
        for (verb, outcome), count in source.operations().items():
            if verb in self.operations:
                cell = (self.operations[verb], outcome)
                totals[cell] = totals.get(cell, 0) + count
        for cell in sorted(totals):
            family.add_metric(cell, totals[cell])
        yield family


@dataclass(frozen=True, slots=True)
class ResourceCounter:
    """Counts one verb as `name{label,status}` by resource; distinct resources are capped by the Tally."""

    name: str
    documentation: str
    verb: str
    label: str

    def families(self, source: Source) -> Iterable[Family]:
        """One sample per resource and outcome seen so far."""
        family = CounterMetricFamily(self.name, self.documentation, labels=(self.label, "status"))
        for (verb, resource, outcome), count in sorted(source.tally.resources.items()):
            if verb == self.verb:
                family.add_metric((resource, outcome), count)
        yield family


@dataclass(frozen=True, slots=True)
class EngineGauge:
    """A gauge read from the engine at each scrape, such as a table's row count."""

    name: str
    documentation: str
    read: Callable[[Engine], float]

    def families(self, source: Source) -> Iterable[Family]:
        """The one sample."""
        yield GaugeMetricFamily(self.name, self.documentation, value=self.read(source.engine))


@dataclass(frozen=True, slots=True)
class NativeCounter:
    """A counter of the core under a name of a feature."""

    name: str
    documentation: str
    native: str

    def families(self, source: Source) -> Iterable[Family]:
        """The one sample."""
        value = source.native["counters"].get(self.native, 0)
        yield CounterMetricFamily(self.name, self.documentation, value=value)


class _Native:
    """Everything the core counts. Raft's carry the label node_id, the rest none."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id

    def families(self, source: Source) -> Iterable[Family]:
        for name, value in source.native["counters"].items():
            yield self._plain(CounterMetricFamily, name, value)
        for name, value in source.native["gauges"].items():
            yield self._plain(GaugeMetricFamily, name, value)
        for name, histogram in source.native["histograms"].items():
            yield self._histogram(name, histogram)
            if name in _ALIASES:
                yield self._histogram(_ALIASES[name], histogram)

    def _labels(self, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return (("node_id",), (self._node_id,)) if name.startswith("raft_") else ((), ())

    def _plain(self, kind: Callable[..., Any], name: str, value: float) -> Family:
        labels, values = self._labels(name)
        family: Any = kind(NAMESPACE + name, _RAFT_HELP.get(name, "Counted by the core."), labels=labels)
        family.add_metric(values, value)
        assert isinstance(family, Family)  # noqa: S101 - narrows for mypy
        return family

    def _histogram(self, name: str, histogram: Mapping[str, Any]) -> Family:
        labels, values = self._labels(name)
        family = HistogramMetricFamily(
            NAMESPACE + name, _RAFT_HELP.get(name, "Timed by the core."), labels=labels
        )
        family.add_metric(values, _buckets(histogram["buckets"], histogram["count"]), histogram["sum"])
        return family


def _buckets(cumulative: Iterable[tuple[float, int]], count: int) -> list[tuple[str, float]]:
    return [*((repr(float(bound)), number) for bound, number in cumulative), ("+Inf", count)]


class _Http:
    """Requests by method, route template and final status, from the front's arrays."""

    def families(self, source: Source) -> Iterable[Family]:
        front = source.front
        labels = ("method", "path", "status")
        requests = CounterMetricFamily("konsul_http_requests_total", "Requests answered.", labels=labels)
        took = HistogramMetricFamily(
            "konsul_http_request_duration_seconds", "From the request's head to its answer.", labels=labels
        )
        bounds = front.get("bucket_bounds", ())
        for series in front.get("requests", ()):
            if series["route"] in _UNCOUNTED_ROUTES:
                continue
            values = (series["method"], series["route"], str(series["status"]))
            requests.add_metric(values, series["count"])
            pairs = zip(bounds, series["buckets"], strict=True)
            took.add_metric(values, _buckets(pairs, series["count"]), series["sum_seconds"])
        yield requests
        yield took
        in_flight = front.get("in_flight", 0)
        yield GaugeMetricFamily("konsul_http_requests_in_flight", "Requests being answered.", value=in_flight)
        for name, text in (
            ("series_dropped", "Series not counted because there were too many."),
            ("log_lines_dropped", "Access log lines lost because stderr was too slow."),
        ):
            yield CounterMetricFamily(f"konsul_http_{name}", text, value=front.get(name, 0))
        for name, text in (
            ("accepted", "Connections accepted."),
            ("refused_full", "Connections refused with 503 because there were too many."),
            ("accept_failures", "Connections the system did not hand out, for want of descriptors."),
            ("lines_overrun", "Event streams and WebSockets cut because too much waited for their client."),
            ("tls_handshakes", "TLS handshakes that succeeded."),
            ("tls_handshake_failures", "TLS handshakes that failed or took too long."),
            ("tls_handshakes_cut", "TLS handshakes given up because too many were in flight."),
            ("not_tls", "Connections that did not speak TLS where nothing else is spoken."),
            ("streams_refused", "Requests over HTTP/2 refused with 503 because too many were in flight."),
            ("stream_floods", "HTTP/2 connections ended because their client took back too many requests."),
        ):
            yield CounterMetricFamily(f"konsul_http_{name}", text, value=source.listener.get(name, 0))
        yield GaugeMetricFamily(
            "konsul_http_connections",
            "Open connections, event streams and WebSockets included.",
            value=source.listener.get("connections", 0) + source.listener.get("lines", 0),
        )
        yield GaugeMetricFamily(
            "konsul_http_streams",
            "Requests in flight over HTTP/2, event streams included.",
            value=source.listener.get("streams", 0),
        )
        yield from _certificate(source.listener)


def _certificate(listener: Mapping[str, int]) -> Iterable[Family]:
    """Only with TLS: a time that stays 0 would look like an end."""
    left_s = listener.get("tls_certificate_expiry_seconds")
    if left_s is None:
        return
    yield GaugeMetricFamily(
        "konsul_tls_certificate_expiry_seconds",
        "How long the certificate shown to clients is still good for; negative once it is over.",
        value=left_s,
    )
    for name, text in (
        ("renewed", "Times the certificate was taken anew from its files."),
        ("refused", "Times new files could not be used, and the old certificate stayed."),
    ):
        yield CounterMetricFamily(
            f"konsul_tls_certificates_{name}", text, value=listener.get(f"tls_certificates_{name}", 0)
        )


class _Build:
    """The version, under the labels of existing dashboards and under their true name."""

    def __init__(self, version: str) -> None:
        self._version = version

    def families(self, source: Source) -> Iterable[Family]:  # noqa: ARG002 - the protocol's
        family = GaugeMetricFamily(
            "konsul_build_info", "What this server is.", labels=("version", "go_version", "runtime_version")
        )
        runtime = f"python{platform.python_version()}"
        family.add_metric((self._version, runtime, runtime), 1)
        yield family


class _Scrape:
    """Reads every declaration from one consistent Source per scrape."""

    def __init__(self, declared: list[Declared], source: Callable[[], Source]) -> None:
        self._declared = declared
        self._source = source

    def collect(self) -> Iterable[Family]:
        source = self._source()
        for declared in self._declared:
            yield from declared.families(source)

    def describe(self) -> Iterable[Family]:
        return ()


class Metrics:
    """The node's registry: declarations of features plus core, HTTP, build and process."""

    def __init__(
        self,
        engine: Engine,
        tally: Tally,
        declared: Iterable[Metric],
        *,
        version: str,
        node_id: str,
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.front: FrontCounters | None = None
        self.listener: ListenerCounters | None = None
        self.watching: Watching | None = None
        self.lines: Lines | None = None
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        computed: list[Declared] = [_Build(version), _Http(), _Native(node_id)]
        for metric in declared:
            if isinstance(metric, MetricWrapperBase):
                self.registry.register(metric)
            else:
                computed.append(metric)
        counted = frozenset(metric.verb for metric in computed if isinstance(metric, ResourceCounter))
        tally.by_resource = tally.by_resource | counted
        self._engine, self._tally = engine, tally
        self.registry.register(_Scrape(computed, self._source))

    def page(self) -> bytes:
        """The text exposition of everything, of type `CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def _source(self) -> Source:
        front = self.front.snapshot() if self.front is not None else {}
        source = Source(self._engine, self._tally, front)
        source.listener = self.listener.stats() if self.listener is not None else {}
        source.watching, source.lines = self.watching, self.lines
        return source
