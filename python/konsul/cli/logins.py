"""Logins that konsulctl keeps: tokens by server in one file of mode 0600, refreshed when they are over.

A refresh token is good once, and one that comes a second time ends the login: so two runs of konsulctl
that find the same old token take turns, and the second uses what the first has got.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from konsul.cli.profiles import location as profiles_location
from konsul.cli.secret_files import MODE_MAX, check_private, replace_private
from konsul.errors import Invalid, Unauthenticated

if TYPE_CHECKING:
    from konsul.client import Tokens

EARLY_S = 30.0
"""A token that is over so soon is refreshed now: a long call must not outlive it."""


@dataclass(frozen=True, slots=True)
class Login:
    """One login. Moments in seconds since 1970."""

    user_id: str
    token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at_s: float
    refresh_expires_at_s: float | None = None

    @classmethod
    def of(cls, user_id: str, tokens: Tokens) -> Login:
        """What a login or refresh just gave."""
        now_s = time.time()
        later_s = tokens.refresh_expires_in_s
        return cls(
            user_id,
            tokens.token,
            tokens.refresh_token,
            now_s + tokens.expires_in_s,
            None if later_s is None else now_s + later_s,
        )

    @property
    def is_over(self) -> bool:
        """True when the access token needs to be refreshed."""
        return time.time() + EARLY_S >= self.expires_at_s


class Logins:
    """The file. Every change reads it anew, under a lock that other runs of konsulctl take too."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or location()

    def get(self, server: str) -> Login | None:
        """The login at a server; None without one. Raises Invalid when the file cannot be used."""
        found = self._read().get(server)
        return None if found is None else _login(self.path, found)

    def put(self, server: str, login: Login) -> None:
        """Keeps a login, in place of an earlier one at that server."""
        with self._locked():
            self._write(self._read() | {server: asdict(login)})

    def remove(self, server: str) -> Login | None:
        """Forgets the login at a server; returns what it was."""
        with self._locked():
            found = self._read()
            gone = found.pop(server, None)
            if gone is not None:
                self._write(found)
        return None if gone is None else _login(self.path, gone)

    def fresh(self, server: str, refresh: Callable[[str], Tokens], *, always: bool = False) -> Login | None:
        """The login at a server with a token that holds, refreshed if need be; None without a login.

        Raises Unauthenticated when the login is over.
        """
        login = self.get(server)
        if login is None or not (always or login.is_over):
            return login
        with self._locked():
            found = self._read()
            now = _login(self.path, found[server]) if server in found else None
            if now is None or now != login:
                return now
            try:
                login = Login.of(now.user_id, refresh(now.refresh_token))
            except Unauthenticated as error:
                self._write({name: one for name, one in found.items() if name != server})
                text = f"the login of {now.user_id} at {server} is over ({error}): run konsulctl auth login"
                raise Unauthenticated(text) from None
            self._write(found | {server: asdict(login)})
        return login

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            with open(self.path, "rb") as file:
                check_private(os.fstat(file.fileno()), str(self.path), "login")
                found = json.load(file)
        except FileNotFoundError:
            return {}
        except OSError as cause:
            raise Invalid(f"cannot read {self.path}: {cause.strerror}") from cause
        except ValueError as cause:
            raise Invalid(f"{self.path} is no file of logins: remove it and log in again") from cause
        if not isinstance(found, dict):
            raise Invalid(f"{self.path} is no file of logins: remove it and log in again")
        return found

    def _write(self, found: dict[str, dict[str, Any]]) -> None:
        try:
            replace_private(self.path, json.dumps(found, indent=2) + "\n")
        except OSError as cause:
            raise Invalid(f"cannot write {self.path}: {cause.strerror}") from cause

    @contextmanager
    def _locked(self) -> Iterator[None]:
        import fcntl

        beside = self.path.with_name(f"{self.path.name}.lock")
        try:
            beside.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE_MAX)
        except OSError as cause:
            raise Invalid(f"cannot write {beside}: {cause.strerror}") from cause
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


class Renewing:
    """The token of a login that is kept, of whenever it is asked for."""

    def __init__(self, logins: Logins, server: str, refresh: Callable[[str], Tokens]) -> None:
        self._logins, self._server, self._refresh = logins, server, refresh
        self._login: Login | None = None

    def __call__(self) -> str:
        """Raises Unauthenticated when the login is over, or another run has logged out."""
        login = self._login
        if login is None or login.is_over:
            login = self._login = self._logins.fresh(self._server, self._refresh)
        if login is None:
            raise Unauthenticated(f"there is no login at {self._server} any more: run konsulctl auth login")
        return login.token


def location() -> Path:
    """Where the file is: what KONSUL_LOGINS names, else beside the file of profiles."""
    named = os.environ.get("KONSUL_LOGINS")
    profiles = profiles_location()
    return Path(named) if named else profiles.with_name(f"{profiles.stem}-logins.json")


def _login(path: Path, found: Any) -> Login:
    try:
        return Login(**found)
    except TypeError:
        raise Invalid(f"{path} is no file of logins: remove it and log in again") from None
