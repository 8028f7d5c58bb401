"""What a service may look like. The messages are a wire contract: clients of the original match on them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from konsul.errors import Invalid
from konsul.kernel.settings import ServiceSettings

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
RESERVED_NAMES: Final = ("query", "watch", "dependency-graph")
"""`/services/query` and the like are routes, so a service of such a name could never be read."""
NOT_FOUND: Final = "Service not found"
KEY_MAX_BYTES: Final = 1_024
ADDRESS_MAX_CHARS: Final = 255
ZONE_MAX_BYTES: Final = 128
TTL_MAX_MS: Final = 365 * 24 * 3_600_000
_TAG: Final = re.compile(r"[A-Za-z0-9_:./-]+")
_META_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_RESERVED_META: Final = ("_", "konsul_")


@dataclass(frozen=True, slots=True)
class Service:
    """One instance of a service as a client sends it. `id` None means: the same as `name`."""

    name: str
    address: str
    port: int
    id: str | None = None
    tags: tuple[str, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict)
    checks: bytes | None = None
    """The check definitions as JSON text, completed by `checks.complete`."""
    node: str | None = None
    zone: str = ""
    """Without one it is that of the metadata, else the node's."""
    ttl_ms: int | None = None
    """How long it stays without a heartbeat; 0: until it is deregistered, None: as the settings say."""
    depends_on: tuple[str, ...] | None = None
    """The services that it needs; None: what was declared before stays."""


def check_service(service: Service, limits: ServiceSettings) -> None:
    """Raises Invalid, with the contract's message, for the first rule the service breaks.

    Lengths of tags and metadata are bytes of UTF-8: they bound what an index has to hold.
    """
    if not service.name:
        raise Invalid("service name is required")
    check_name(service.name)
    if service.id is not None:
        check_id(service.id)
    if not service.address:
        raise Invalid("service address is required")
    if len(service.address) > ADDRESS_MAX_CHARS:
        raise Invalid(f"service address too long: {len(service.address)} chars (max {ADDRESS_MAX_CHARS})")
    if service.port == 0:
        raise Invalid("service port is required")
    if not 1 <= service.port <= 65_535:
        raise Invalid("service port must be between 1 and 65535")
    _check_tags(service.tags, limits)
    check_metadata(service.meta, limits)
    if service.node is not None:
        check_node(service.node)
    check_zone(service.zone)


def check_node(name: str) -> None:
    """Raises Invalid for a name that no node can have."""
    if not NAME.fullmatch(name):
        raise Invalid(f"invalid node name: {name} (must match ^{NAME.pattern}$)")


def check_zone(zone: str) -> None:
    """Raises Invalid for a zone that an index could not hold, or that could not be shown."""
    if len(zone.encode()) > ZONE_MAX_BYTES:
        raise Invalid(f"zone too long: {len(zone.encode())} bytes (max {ZONE_MAX_BYTES})")
    if not zone.isprintable():
        raise Invalid("zone contains a control character")


def is_possible(key: bytes) -> bool:
    """False for a key no row can have; the engine would refuse it instead of finding nothing."""
    return len(key) <= KEY_MAX_BYTES


def check_name(name: str) -> None:
    """Raises Invalid for a name that cannot be registered."""
    if not NAME.fullmatch(name):
        raise Invalid(f"invalid service name: {name} (must match ^{NAME.pattern}$)")
    if name in RESERVED_NAMES:
        raise Invalid(f"service name '{name}' is reserved")


def check_id(instance_id: str) -> None:
    """Raises Invalid for an instance id that cannot be registered."""
    if not NAME.fullmatch(instance_id):
        raise Invalid(f"invalid service id: {instance_id} (must match ^{NAME.pattern}$)")


def _check_tags(tags: Sequence[str], limits: ServiceSettings) -> None:
    problem = _tag_problem(tags, limits)
    if problem:
        raise Invalid(f"tag validation failed: {problem}")


def _tag_problem(tags: Sequence[str], limits: ServiceSettings) -> str | None:
    if len(tags) > limits.max_tags:
        return f"too many tags: {len(tags)} (max {limits.max_tags})"
    seen: set[str] = set()
    for tag in tags:
        if not tag:
            return "empty tag not allowed"
        if len(tag.encode()) > limits.max_tag_length:
            return f"tag too long: {len(tag.encode())} chars (max {limits.max_tag_length})"
        if not _TAG.fullmatch(tag):
            return f"invalid tag format: {tag} (allowed: alphanumeric, -, _, :, ., /)"
        if tag in seen:
            return f"duplicate tag: {tag}"
        seen.add(tag)
    return None


def check_metadata(meta: Mapping[str, str], limits: ServiceSettings) -> None:
    """Raises Invalid, with the contract's message, for the first rule that metadata breaks."""
    problem = _metadata_problem(meta, limits)
    if problem:
        raise Invalid(f"metadata validation failed: {problem}")


def _metadata_problem(meta: Mapping[str, str], limits: ServiceSettings) -> str | None:
    if len(meta) > limits.max_metadata_keys:
        return f"too many metadata keys: {len(meta)} (max {limits.max_metadata_keys})"
    for key, value in meta.items():
        if not key:
            return "empty metadata key not allowed"
        if len(key.encode()) > limits.max_metadata_key_length:
            return f"metadata key too long: {len(key.encode())} chars (max {limits.max_metadata_key_length})"
        size = len(value.encode())
        if size > limits.max_metadata_value_length:
            most = limits.max_metadata_value_length
            return f"metadata value too long for key {key}: {size} chars (max {most})"
        if not _META_KEY.fullmatch(key):
            return f"invalid metadata key format: {key} (allowed: alphanumeric, -, _)"
        if key.startswith(_RESERVED_META):
            return f"reserved metadata key: {key}"
        if "\0" in value:
            return f"metadata value for key {key} contains NUL"
    return None
