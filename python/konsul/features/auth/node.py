"""What the auth feature has on a node while it is on: keys, tokens, passwords, identities, counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from konsul.engine import Engine
from konsul.errors import NotFound
from konsul.features.auth.config import AuthSettings
from konsul.kernel.attempts import Attempts, AttemptSettings
from konsul.kernel.cluster_settings import ClusterSettings

if TYPE_CHECKING:
    from konsul.engine import Grant
    from konsul.features.auth.identities import Identities
    from konsul.features.auth.passwords import Passwords
    from konsul.features.auth.signing import Keys
    from konsul.features.auth.tokens import Tokens
    from konsul.kernel.node import Kernel


@dataclass(slots=True)
class Counts:
    """What is counted; on the loop's thread only."""

    logins: dict[str, int] = field(default_factory=dict)
    """By result: success, failed, limited, error."""
    issued: dict[str, int] = field(default_factory=dict)
    """Tokens by purpose."""
    refreshed: int = 0
    replays: int = 0
    """Refresh tokens presented a second time."""
    reloads: dict[str, int] = field(default_factory=dict)
    """Reloads of signing keys by result: success, failed."""

    def add(self, counts: dict[str, int], name: str) -> None:
        """Counts one of a kind."""
        counts[name] = counts.get(name, 0) + 1


class Auth:
    """One node's."""

    def __init__(self, kernel: Kernel, *, maps_certificates: bool) -> None:
        """Reads the signing keys.

        Raises:
            Invalid: there is none, or one cannot be used.
        """
        # Ten megabytes of libraries, and a sixth of a second, for nodes that authenticate somebody only.
        from konsul.features.auth.identities import Identities
        from konsul.features.auth.passwords import Passwords
        from konsul.features.auth.tokens import Tokens

        self._kernel = kernel
        self.settings = settings = kernel.config.of(AuthSettings)
        self.keys: Keys = self.load_keys()
        self._cluster = ""
        self.tokens: Tokens = Tokens(settings, lambda: self.keys, cluster=self._cluster_id)
        self.passwords: Passwords = Passwords(settings.hashes_waiting_max)
        self.attempts = Attempts(kernel.config.of(AttemptSettings))
        self.identities: Identities = Identities(
            kernel.engine,
            self.tokens,
            lambda: self.keys.marks,
            entries_max=settings.identities_max,
            key_prefix=settings.apikey_prefix,
            maps_certificates=maps_certificates,
            grant_of=self._grant_of,
        )
        self.counts = Counts()

    def load_keys(self) -> Keys:
        """Reads the signing keys that the settings name. For any thread. Raises Invalid."""
        from konsul.features.auth.signing import load_keys

        return load_keys(self.settings)

    def key_files(self) -> list[tuple[str, int, int, int]]:
        """What tells that their files were changed. For any thread."""
        from konsul.features.auth.signing import watched_files

        return watched_files(self.settings)

    def use(self, keys: Keys) -> None:
        """Takes other signing keys: tokens of keys that are gone hold no longer."""
        self.keys = keys
        self.identities.clear()
        self._kernel.identities_changed()

    def forget(self, table: int, key: bytes) -> None:
        """A row of a user, login or API key was just changed here: it counts from now on, before the watch
        has told. On the loop's thread."""
        self.identities.forget(table, key)
        self._kernel.identities_changed()

    def forget_all(self) -> None:
        """As `forget`, when it is not known what has changed."""
        self.identities.clear()
        self._kernel.identities_changed()

    def _cluster_id(self) -> str:
        # It never changes once there is one, and asking for it writes a whole document.
        if not self._cluster and self._kernel.config.of(ClusterSettings).enabled:
            self._cluster = str(self._kernel.engine.cluster().get("cluster_id") or "")
        return self._cluster

    def _grant_of(self, names: Sequence[str]) -> Grant | None:
        access = self._kernel.access
        return None if access is None or not names else access.grant(names)


_ROOMS: Final[WeakKeyDictionary[Engine, Auth]] = WeakKeyDictionary()


def keep(engine: Engine, auth: Auth) -> None:
    """Has `auth_of` find it."""
    _ROOMS[engine] = auth


def auth_of(engine: Engine) -> Auth:
    """The node's.

    Raises:
        NotFound: auth is off.
    """
    found = _ROOMS.get(engine)
    if found is None:
        raise NotFound("KONSUL_AUTH_ENABLED is off")
    return found
