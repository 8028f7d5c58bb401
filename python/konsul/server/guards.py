"""What the switches of protection mean for the start: what is refused, and what the log says of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from konsul.kernel.config import Config, ConfigError
from konsul.kernel.dns_settings import DnsSettings
from konsul.kernel.feature import Feature
from konsul.kernel.guard_settings import GuardSettings
from konsul.kernel.logging import logger
from konsul.kernel.settings import HttpSettings
from konsul.kernel.tls_settings import TlsSettings

_LOOPBACK: Final = "127.0.0.1"
_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - chosen only where requests are authenticated
_THIS_MACHINE: Final = ("127.", "::1", "localhost")
_SWITCHES: Final = (
    (
        "KONSUL_AUTH_ENABLED",
        ("KONSUL_JWT_", "KONSUL_BOOTSTRAP_", "KONSUL_REFRESH_", "KONSUL_APIKEY_", "KONSUL_PUBLIC_PATHS"),
    ),
    ("KONSUL_ACL_ENABLED", ("KONSUL_ACL_",)),
    ("KONSUL_TLS_ENABLED", ("KONSUL_TLS_",)),
    ("KONSUL_RATE_LIMIT_ENABLED", ("KONSUL_RATE_LIMIT_",)),
    ("KONSUL_AUDIT_ENABLED", ("KONSUL_AUDIT_",)),
)
"""Each protection, and how the settings begin that do nothing without it."""


def check(config: Config, features: Sequence[Feature]) -> None:
    """Refuses a switch whose feature this server was composed without, and policies that nothing reads.

    Raises:
        ConfigError: with the name of the switch.
    """
    guard = config.of(GuardSettings)
    present = {feature.name for feature in features}
    for is_on, name, word in (
        (guard.auth_enabled, "KONSUL_AUTH_ENABLED", "auth"),
        (guard.acl_enabled, "KONSUL_ACL_ENABLED", "acl"),
    ):
        if is_on and word not in present:
            raise ConfigError(f"{name} is on, and this server has no {word}: unset it to start without")
    if config.of(DnsSettings).policies and not guard.acl_enabled:
        raise ConfigError(
            "KONSUL_DNS_POLICIES names policies, but nobody would read them: set KONSUL_ACL_ENABLED=true"
        )


def listen_host(config: Config) -> str:
    """Where to listen: unless told, every interface only if nobody gets in without credentials."""
    host = config.of(HttpSettings).host
    return host or (_EVERYWHERE if config.of(GuardSettings).requires_auth else _LOOPBACK)


def announce(config: Config) -> None:
    """Says who may reach and use the node."""
    log, http, guard = logger(), config.of(HttpSettings), config.of(GuardSettings)
    for switch, idle in _forgotten(config):
        log.warning(f"no effect without {switch}: {', '.join(idle)}")
    if guard.auth_enabled:
        log.info(
            "requests are authenticated",
            required=guard.requires_auth,
            acl=guard.acl_enabled,
            default_policy=guard.acl_default_policy if guard.acl_enabled else None,
            public_paths=list(guard.public_paths),
            trusted_proxies=list(guard.trusted_proxies),
        )
        if not config.of(TlsSettings).enabled and not listen_host(config).startswith(_THIS_MACHINE):
            log.warning(
                "passwords and tokens travel in the clear: set KONSUL_TLS_ENABLED, or have a proxy do it"
            )
    if guard.requires_auth:
        return
    who = "requests need no credentials" if guard.auth_enabled else "requests are not authenticated"
    if not http.host:
        log.info(f"on loopback only, because {who}; KONSUL_HOST changes that")
    elif not http.host.startswith(_THIS_MACHINE):
        log.warning(f"open to everybody who reaches this address: {who}")


def _forgotten(config: Config) -> Iterator[tuple[str, list[str]]]:
    """Switches that nobody set, with what was set for them. One that was set to off is meant to be off."""
    for switch, beginnings in _SWITCHES:
        idle = sorted(name for name in config.sources if name.startswith(beginnings))
        if idle and switch not in config.sources:
            yield switch, idle
