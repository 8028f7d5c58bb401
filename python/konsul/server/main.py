"""The composition root: configuration -> engine -> kernel -> application -> front -> listener."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop
from fastapi import FastAPI

from konsul.doors.graphql.routes import routes as graphql_routes
from konsul.doors.http.app import create_app
from konsul.engine import Engine, Options
from konsul.errors import KonsulError
from konsul.features import FEATURES
from konsul.kernel import logging, settings
from konsul.kernel.config import Config, ConfigError, declarations, load
from konsul.kernel.feature import Feature, load_all
from konsul.kernel.node import VERSION, Kernel
from konsul.kernel.notices import ALIASES, notices
from konsul.server import cluster_mode, guards
from konsul.server.arguments import parse, reference
from konsul.server.certificates import Certificates, certificates
from konsul.server.front import make_front
from konsul.server.hangup_signal import HangupSignal, reload_peers
from konsul.server.listener import Listener, probe_address
from konsul.server.snapshot_signal import SnapshotSignal

if TYPE_CHECKING:
    from konsul.doors.dns.door import DnsDoor

_OWN_WATCHES: Final = 1_000
"""Watches the node may have for itself, beside those of clients."""
_COLLECT_AFTER: Final = (10_000, 20, 100)
"""Objects made, and collections of the younger generation, before Python looks for cycles."""


def main() -> None:
    """The console script `konsul`."""
    sys.exit(serve())


def serve(
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
    features: Sequence[str | Feature] = FEATURES,
) -> int:
    """Runs one node until a signal stops it; returns the exit status. `features`: words or features."""
    found = load_all(features)
    groups = [*settings.GROUPS, *(feature.config for feature in found if feature.config is not None)]
    environ = os.environ if environ is None else environ
    command, flags = parse(sys.argv[1:] if argv is None else argv, declarations(groups))
    if command == "reference":
        print(reference(declarations(groups)))
        return 0
    try:
        config = load(groups, environ=environ, flags=flags, notice=notices, aliases=ALIASES)
        cluster_mode.check(config)
        guards.check(config, found)
    except ConfigError as error:
        print(f"Failed to load configuration: invalid configuration: {error}", file=sys.stderr)
        return 1
    log = config.of(settings.LogSettings)
    logging.configure(log.level, log.format)
    return uvloop.run(_run(config, found))


def engine_options(config: Config) -> Options:
    """The core's options."""
    storage, raft = config.of(settings.StorageSettings), config.of(settings.RaftSettings)
    watch, cluster = config.of(settings.WatchSettings), cluster_mode.options(config)
    return Options(
        data_dir=cluster_mode.data_dir(config, storage.data_dir),
        backend="durable" if storage.backend == "durable" else "memory",
        heartbeat_ms=raft.heartbeat_ms,
        election_ms=raft.election_ms,
        snapshot_interval_ms=raft.snapshot_interval_ms,
        snapshot_threshold_entries=raft.snapshot_threshold,
        snapshot_retention=raft.snapshot_retention,
        trailing_entries=raft.trailing_logs,
        segment_bytes=raft.segment_bytes,
        inflight_max_entries=raft.inflight_max_entries,
        inflight_max_bytes=raft.inflight_max_bytes,
        disk_reserve_bytes=storage.reserve_bytes,
        map_max_bytes=storage.map_max_bytes,
        sync_writes=storage.sync_writes,
        watch_ring_entries=watch.ring_entries,
        watch_ring_bytes=watch.ring_bytes,
        watchers_max=watch.max_total + _OWN_WATCHES,
        **cluster,
    )


async def _run(config: Config, features: tuple[Feature, ...]) -> int:
    began_s = time.monotonic()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    _raise_file_limit()
    announce(config)
    http = config.of(settings.HttpSettings)
    host = guards.listen_host(config)
    try:
        # Before the data directory is opened: a taken port must not cost a recovery, nor touch any file.
        probe_address(host, http.port)
        shown = certificates(config, Path(engine_options(config).data_dir) / "tls")
        kernel = Kernel(Engine(engine_options(config)), config, features)
        app = create_app(kernel)
        # Before the features': one comparison, where each of theirs is a pattern to try.
        app.router.routes[:0] = graphql_routes(kernel)
        dns = dns_door(kernel, host)
        await kernel.start()
        for note in kernel.engine.status()["notes"]:
            logging.logger().warning("recovered", note=note)
    except KonsulError as error:
        logging.logger().error("start failed", error=str(error))
        return 1
    return await _serve(kernel, app, dns, host, shown, began_s, stop)


async def _serve(
    kernel: Kernel,
    app: FastAPI,
    dns: DnsDoor | None,
    host: str,
    shown: Certificates | None,
    began_s: float,
    stop: asyncio.Event,
) -> int:
    log, http = logging.logger(), kernel.config.of(settings.HttpSettings)
    tls = kernel.config.of(settings.TlsSettings)
    front = make_front(kernel, app, tls.answer_headers())
    kernel.metrics.front = front
    listener = Listener(
        front,
        host,
        http.port,
        head_timeout_ms=http.body_timeout_ms,
        handshake_timeout_ms=tls.handshake_timeout_ms,
        handshakes_max=tls.handshakes_max,
        certificates=shown,
    )
    kernel.metrics.listener = listener
    snapshots = SnapshotSignal(kernel.engine)
    if cluster_mode.is_secure(kernel.config):
        kernel.hangups.append(partial(reload_peers, kernel.engine))
    kernel.hangups.insert(0, listener.reload)
    hangup = HangupSignal(kernel.hangups)
    status = 0
    front.start()
    try:
        await listener.start()
        if dns is not None:
            await dns.start()
        _collect_seldom()
        took_ms = round((time.monotonic() - began_s) * 1_000)
        log.info("ready", address=listener.address, version=VERSION, pid=os.getpid(), took_ms=took_ms)
        await stop.wait()
        log.info("stopping", grace_ms=http.stop_grace_ms)
    except KonsulError as error:
        log.error("start failed", error=str(error))
        status = 1
    kernel.phase = "stopping"
    # Before the drain: a stream ends only when it is told to, and so does who waits for a change.
    kernel.lines.close_all()
    kernel.watching.stop()
    left = await front.drain(http.stop_grace_ms)
    if left:
        log.warning("requests cut off", count=left, grace_ms=http.stop_grace_ms)
    await listener.stop()
    if dns is not None:
        await dns.stop()
    await snapshots.close()
    hangup.close()
    await kernel.stop(http.stop_grace_ms)
    front.close()
    log.info("stopped")
    return status


def dns_door(kernel: Kernel, host: str) -> DnsDoor | None:
    """The DNS door with its port, None while it is off. `host`: where HTTP listens. Raises StartFailed."""
    if not kernel.config.of(settings.DnsSettings).enabled:
        return None
    # Imported here: who does not serve it does not pay for it.
    from konsul.doors.dns.door import DnsDoor

    return DnsDoor(kernel, host)


def announce(config: Config) -> None:
    """What was decided, before anything is opened."""
    log = logging.logger()
    http, storage = config.of(settings.HttpSettings), config.of(settings.StorageSettings)
    level = config.of(settings.LogSettings)
    durable = storage.backend == "durable"
    log.info(
        "starting",
        version=VERSION,
        address=f"{guards.listen_host(config)}:{http.port}",
        log_level=level.level,
        log_format=level.format,
        persistence_enabled=durable,
        persistence_type=storage.backend,
        data_dir=cluster_mode.data_dir(config, storage.data_dir) if durable else None,
    )
    guards.announce(config)
    if not durable:
        log.warning("data is kept in memory and is gone when the node stops")
    if storage.persistence_type == "badger":
        log.info("KONSUL_PERSISTENCE_TYPE badger is the old name of durable")
    if not storage.sync_writes:
        log.warning("KONSUL_SYNC_WRITES is off: a failing machine may lose writes that were answered")
    if "KONSUL_CLEANUP_INTERVAL" in config.sources:
        log.info("KONSUL_CLEANUP_INTERVAL has no effect: a service expires the moment its lease ends")
    watch = config.of(settings.WatchSettings)
    log.info(
        "watches",
        enabled=watch.enabled,
        buffer_size=watch.buffer_size,
        max_per_client=watch.max_per_client,
        max_total=watch.max_total,
    )
    cluster_mode.announce(config)
    for notice in config.notices:
        log.warning(notice)


def _collect_seldom() -> None:
    """Leaves what lives as long as the process out of Python's collections, and has them come less often.

    Each walks every object there is: with ten thousand watchers that was the longest pause of the loop.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


def _raise_file_limit() -> None:
    """As many open connections as the system allows this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
