"""What the start log says about KONSUL_* variables that no setting claims: later, elsewhere, or unknown."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Final

from konsul.kernel.config import CONFIG_FILE, PREFIX, ConfigError
from konsul.kernel.values import BOOL

LATER_PREFIXES: Final = (
    "KONSUL_TRACING_",
    "KONSUL_METRICS_",
    "KONSUL_RBAC_",
    "KONSUL_ADMIN_UI_",
    "KONSUL_MQTT_",
)
LATER: Final = frozenset(
    (
        "KONSUL_BACKUP_DIR",
        "KONSUL_WAL_ENABLED",
        "KONSUL_RAFT_DISCOVERY_AWS_REGION",
        "KONSUL_RAFT_DISCOVERY_AWS_TAG_KEY",
        "KONSUL_RAFT_DISCOVERY_AWS_TAG_VALUE",
        "KONSUL_AGENT_MODE",
        "KONSUL_MODE",
        "KONSUL_CLOUD_ADDRESS",
    )
)
"""Named by the contract for features that are not part of this server yet."""
ALIASES: Final = {
    "KONSUL_CLUSTER_ENABLED": "KONSUL_RAFT_ENABLED",
    "KONSUL_NODE_ID": "KONSUL_RAFT_NODE_ID",
    "KONSUL_NODE_NAME": "KONSUL_RAFT_NODE_NAME",
    "KONSUL_RAFT_LISTEN_ADDR": "KONSUL_RAFT_BIND_ADDR",
    "KONSUL_RAFT_BOOTSTRAP_MODE": "KONSUL_RAFT_BOOTSTRAP",
}
"""Names of older documents, and what they are called now."""
GUARDS: Final = frozenset(
    (
        "KONSUL_RATE_LIMIT_ENABLED",
        "KONSUL_AUDIT_ENABLED",
    )
)
"""An operator sets these to be protected: a server composed without the feature that reads them would leave
open what is believed guarded. Of authentication and policies `konsul.server.guards` takes care."""
ELSEWHERE: Final = frozenset(
    (
        "KONSUL_TOKEN",
        "KONSUL_SERVER",
        "KONSUL_ADDRESS",
        "KONSUL_ADDR",
        "KONSUL_URL",
        "KONSUL_SERVER_ADDRESS",
        "KONSUL_AGENT_ADDRESS",
        "KONSUL_PROFILE",
        "KONSUL_CLI_CONFIG",
        "KONSUL_LOGINS",
        "KONSUL_CA_CERT",
        "KONSUL_API_KEY",
        "KONSUL_TOKEN_FILE",
        "KONSUL_API_KEY_FILE",
        "KONSUL_CLIENT_CERT",
        "KONSUL_CLIENT_KEY",
        "KONSUL_TIMEOUT",
        CONFIG_FILE,
    )
)
"""Read by konsulctl, agents and demo scripts, which often share the server's environment."""


def notices(environ: Mapping[str, str], known: Iterable[str]) -> list[str]:
    """One sentence per variable that is set and has no effect. Never the value: it may be a secret.

    Raises ConfigError for one that asks for a protection this server cannot give.
    """
    known_names = set(known)
    found: list[str] = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in known_names or name in ELSEWHERE or not environ[name]:
            continue
        if name in GUARDS:
            _refuse_unless_off(name, environ[name])
        elif name in ALIASES:
            new = ALIASES[name]
            effect = f"not read, because {new} is set" if environ.get(new) else f"read as {new}"
            found.append(f"{name} is an old name: {effect}")
        elif name in LATER or name.startswith(LATER_PREFIXES):
            found.append(f"{name} is not used yet")
        else:
            near = difflib.get_close_matches(name, known_names | {CONFIG_FILE}, 1, 0.8)
            hint = f"; did you mean {near[0]}?" if near else ""
            found.append(f"{name} is not a setting of this server{hint}")
    return found


def _refuse_unless_off(name: str, value: str) -> None:
    try:
        is_on = BOOL.read(value)
    except ValueError:
        raise ConfigError(f"{name} is {value!r} (environment): expected {BOOL.expected}") from None
    if not is_on:
        return
    raise ConfigError(
        f"{name} is on, and this server does not have that protection: unset it to start without"
    )
