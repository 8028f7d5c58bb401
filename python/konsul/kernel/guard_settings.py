"""The switches of identity and permission, which the front and several features read together."""

from __future__ import annotations

import ipaddress
from typing import Final, Literal

from konsul.kernel.config import Settings, setting
from konsul.kernel.values import BOOL, LIST, TEXT, one_of

PUBLIC_PATHS: Final = (
    "/health",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/admin",
    "/admin/",
    "/admin/assets/*",
)


def _are_networks(items: tuple[str, ...]) -> str | None:
    for item in items:
        try:
            ipaddress.ip_network(item, strict=False)
        except ValueError:
            return "addresses or networks such as 10.0.0.0/8 or fd00::/8, separated by commas"
    return None


def _are_paths(items: tuple[str, ...]) -> str | None:
    sound = all(item.startswith("/") and "*" not in item.removesuffix("/*") for item in items)
    return None if sound else "paths that begin with /, separated by commas; only a last /* stands for more"


class GuardSettings(Settings):
    """Who must say who they are, and who decides what they may do."""

    auth_enabled: bool = setting(
        "KONSUL_AUTH_ENABLED",
        BOOL,
        default=False,
        doc="Users, tokens and API keys: credentials are checked, `/auth/*` is served.",
    )
    require_auth: bool | None = setting(
        "KONSUL_REQUIRE_AUTH",
        BOOL,
        default=None,
        doc="Refuse whoever brings no credentials, except on public paths. Unset: as `KONSUL_AUTH_ENABLED`.",
    )
    public_paths: tuple[str, ...] = setting(
        "KONSUL_PUBLIC_PATHS",
        LIST,
        default=PUBLIC_PATHS,
        doc="Paths that need no credentials; `/*` at the end stands for all below. Replaces the default.",
        check=_are_paths,
    )
    trusted_proxies: tuple[str, ...] = setting(
        "KONSUL_TRUSTED_PROXIES",
        LIST,
        default=(),
        doc="Addresses and networks of proxies whose `X-Forwarded-For` names the client.",
        check=_are_networks,
    )
    acl_enabled: bool = setting(
        "KONSUL_ACL_ENABLED",
        BOOL,
        default=False,
        doc="Policies decide what each identity may do. Needs `KONSUL_AUTH_ENABLED`.",
    )
    acl_default_policy: Literal["deny", "allow"] = setting(
        "KONSUL_ACL_DEFAULT_POLICY",
        one_of("deny", "allow"),
        default="deny",
        doc="What holds where no rule of a policy matches; never `allow` for administration.",
    )
    acl_policy_dir: str = setting(
        "KONSUL_ACL_POLICY_DIR",
        TEXT,
        default="./policies",
        doc="Directory of this node's own policies, one JSON document per file; changes are taken over.",
    )

    @property
    def requires_auth(self) -> bool:
        """True if who brings no credentials is refused."""
        return self.auth_enabled if self.require_auth is None else self.require_auth

    def problem(self) -> str | None:
        """Protections that would not protect stop the start."""
        if self.require_auth and not self.auth_enabled:
            return (
                "KONSUL_REQUIRE_AUTH is on, but nothing would check credentials: set KONSUL_AUTH_ENABLED=true"
            )
        if self.acl_enabled and not self.auth_enabled:
            return "KONSUL_ACL_ENABLED is on, but nobody would have an identity: set KONSUL_AUTH_ENABLED=true"
        return None
