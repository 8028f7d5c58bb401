"""Autopilot's settings: replicated, changed through the API, checked before they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import orjson

from konsul.engine import Engine
from konsul.errors import Conflict, Invalid, Unsupported
from konsul.features.cluster.tables import SettingsRow
from konsul.kernel import entry
from konsul.kernel.autopilot_settings import AutopilotSettings
from konsul.kernel.config import Config
from konsul.kernel.duration import format_duration_ms, parse_duration_ms

KEY: Final = b"autopilot"
_CHANGE_TRIES: Final = 5
_SECOND_MS: Final = 1_000
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AutopilotConfig:
    """What is in force. The replicated text has these names without `_ms`, durations as Go text."""

    enabled: bool = True
    cleanup_dead_servers: bool = True
    last_contact_threshold_ms: int = 10_000
    dead_server_timeout_ms: int = 30_000
    max_trailing_logs: int = 1_000
    server_stabilization_time_ms: int = 10_000
    min_quorum: int = 3
    redundancy_zones: bool = False


_RANGES: Final[Mapping[str, tuple[int, int, str]]] = {
    "last_contact_threshold_ms": (100, _DAY_MS, "100ms to 24h"),
    "dead_server_timeout_ms": (_SECOND_MS, 30 * _DAY_MS, "1s to 720h"),
    "max_trailing_logs": (1, 2**40, "1 to 1099511627776"),
    "server_stabilization_time_ms": (0, _DAY_MS, "0s to 24h"),
    "min_quorum": (1, 7, "1 to 7"),
}
_DURATIONS: Final = frozenset(name for name in _RANGES if name.endswith("_ms"))


def document(config: AutopilotConfig) -> dict[str, Any]:
    """The settings as the API shows and takes them."""
    return {
        name.removesuffix("_ms"): format_duration_ms(value) if name in _DURATIONS else value
        for name, value in asdict(config).items()
    }


def changed(config: AutopilotConfig, changes: Mapping[str, Any]) -> AutopilotConfig:
    """The settings with `changes` (API names) in place.

    Raises:
        Invalid: a name is unknown, or a value is of the wrong kind or out of its range.
    """
    names = {name.removesuffix("_ms"): name for name in asdict(config)}
    picked: dict[str, Any] = {}
    for given, value in changes.items():
        name = names.get(given.lower())
        if name is None:
            raise Invalid(f"{given} is not a setting of autopilot: expected {', '.join(names)}")
        picked[name] = _value(given, name, value)
    made = replace(config, **picked)
    if made.dead_server_timeout_ms < made.last_contact_threshold_ms:
        raise Invalid(
            "dead_server_timeout is below last_contact_threshold: a server is unhealthy before dead"
        )
    return made


def _value(given: str, name: str, value: object) -> object:
    if name not in _RANGES:
        if type(value) is not bool:
            raise Invalid(f"{given}: expected true or false")
        return value
    low, high, range_text = _RANGES[name]
    if name in _DURATIONS:
        try:
            number = parse_duration_ms(value) if isinstance(value, str) else None
        except ValueError:
            number = None
        if number is None:
            raise Invalid(f"{given}: expected a duration such as 10s")
    elif type(value) is int:
        number = value
    else:
        raise Invalid(f"{given}: expected a whole number")
    if not low <= number <= high:
        raise Invalid(f"{given}: expected {range_text}")
    return number


def in_force(engine: Engine, config: Config) -> AutopilotConfig:
    """The replicated settings, or until there are some this node's own."""
    return _stored(engine, config)[0]


def _stored(engine: Engine, config: Config) -> tuple[AutopilotConfig, int, dict[str, Any]]:
    """The settings, the modify_index of their row (0 without one), and what this version does not know."""
    own = config.of(AutopilotSettings)
    first = AutopilotConfig(**{name: getattr(own, name) for name in AutopilotConfig.__dataclass_fields__})
    try:
        row = engine.get(SettingsRow.table_id, KEY)
    except Unsupported:
        # A node has no tables before its cluster has reached it, nor in the first moment of a cluster.
        return first, 0, {}
    if row is None or row.cells[0] is None:
        return first, 0 if row is None else row.modify_index, {}
    stored = orjson.loads(row.cells[0])
    # A newer node may have stored what this one does not know.
    names = document(first)
    known = {name: value for name, value in stored.items() if name in names}
    unknown = {name: value for name, value in stored.items() if name not in names}
    return changed(first, known), row.modify_index, unknown


async def change(engine: Engine, config: Config, changes: Mapping[str, Any]) -> AutopilotConfig:
    """Stores the settings with `changes` in place; returns what is in force then.

    Raises:
        Invalid: as `changed`. Conflict: others change them at the same time.
    """
    for _ in range(_CHANGE_TRIES):
        old, modify_index, unknown = _stored(engine, config)
        new = changed(old, changes)
        cells = entry.cells(orjson.dumps(unknown | document(new)))
        try:
            await engine.put(SettingsRow.table_id, KEY, cells, modify_index)
        except Conflict:
            continue
        return new
    raise Conflict("autopilot's settings are being changed by others: try again")
