"""One run of konsulctl: the flags in force, the client on first use, the printer."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any

from konsul.cli import logins, options
from konsul.cli.options import Flags
from konsul.cli.output import Printer
from konsul.cli.profiles import Profiles
from konsul.errors import KonsulError, NotFound, Unsupported

if TYPE_CHECKING:
    from konsul.client import Client, Tokens

_NO_CREDENTIALS = "missing authorization header"
_UNKNOWN_AUTHORITY = ("unable to get local issuer certificate", "self-signed certificate")


class Session:
    """What an action works with: `client`, `out`, and the flags."""

    def __init__(self, flags: Flags) -> None:
        self.flags = flags
        environ = os.environ
        color = not (flags.on("no_color") or environ.get("NO_COLOR") or environ.get("TERM") == "dumb")
        self.out = Printer(flags.form, quiet=flags.on("quiet"), color=color)
        self._client: Client | None = None

    @cached_property
    def profile(self) -> dict[str, Any]:
        """The settings of the profile in force. Raises NotFound or Invalid when it cannot be used."""
        profiles = Profiles.load()
        for warning in profiles.warnings:
            self.out.warn(warning)
        return profiles.chosen(self.flags.text("profile", {}))

    @property
    def client(self) -> Client:
        """The client, made on first use: `--help` and `version --client` never pay for httpx."""
        if self._client is None:
            self._client = self.connect()
        return self._client

    def connect(self, *, stored: bool = True) -> Client:
        """A client with the settings in force; without credentials among them, with those of a login that is
        kept, unless `stored` is False. Raises Unauthenticated when that login is over."""
        settings = options.settings(self.flags, self.profile)
        if not settings.tls_verify and any(one.startswith("https://") for one in settings.addresses):
            self.out.warn(
                "the server's certificate is not checked (--tls-skip-verify): whoever is in between can read "
                "and change everything"
            )
        _without_httpx_command_line()
        from konsul.client import Client

        if stored and settings.token is None and settings.api_key is None:
            kept = logins.Logins()
            if kept.get(settings.address) is not None:
                source = logins.Renewing(kept, settings.address, self.refresh)
                settings = replace(settings, token_source=source, address=",".join(settings.addresses))
        return Client(settings)

    def refresh(self, refresh_token: str) -> Tokens:
        """Exchanges a refresh token at the server in force."""
        with self.connect(stored=False) as client:
            return client.auth.refresh(refresh_token)

    def complain(self, what: str, error: KonsulError) -> None:
        """Says on stderr what failed and why."""
        self.out.error(f"Error {what}:", cause_of(error))

    def close(self) -> None:
        """Let connections go."""
        if self._client is not None:
            self._client.close()


def cause_of(error: KonsulError) -> str:
    """The cause as a person reads it; a refusal names the server's reason phrase and its request id. Where
    something was not given that the server needs, it says how."""
    answer = error.__cause__
    status = getattr(answer, "status", None)
    if answer is None or status is None:
        text = str(error)
        is_unknown = any(words in text for words in _UNKNOWN_AUTHORITY)
        return f"{text}; --ca-cert names the file of an authority to trust" if is_unknown else text
    message = str(getattr(answer, "message", ""))
    if isinstance(error, NotFound):
        return message if message[1:2].isupper() else message[:1].lower() + message[1:]
    if isinstance(error, Unsupported) and status == 404:
        return str(error)
    reason = str(getattr(answer, "error", ""))
    text = message if not reason or reason in message else f"{reason} - {message}"
    needed = getattr(answer, "needed", "")
    request_id = getattr(answer, "request_id", "")
    text += f": {needed}" if needed else ""
    text += f" (request {request_id})" if request_id else ""
    if status == 401 and message == _NO_CREDENTIALS:
        text += "; log in with konsulctl auth login, or give --api-key-file or --token-file"
    return f"server error: {text}"


def _without_httpx_command_line() -> None:
    """httpx imports its own command line with rich, pygments and click: 190 of its 320 ms, for nothing
    here."""
    if "httpx" not in sys.modules:
        stand_in = ModuleType("httpx._main")
        stand_in.main = lambda: None  # type: ignore[attr-defined]
        sys.modules.setdefault("httpx._main", stand_in)
