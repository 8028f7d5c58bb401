"""The global flags, and their resolution: flag, then environment, then profile, then default."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.main import get_command

from konsul.cli.quick import lighten
from konsul.cli.secret_files import read_secret
from konsul.errors import Invalid

if TYPE_CHECKING:
    from konsul.client import Settings

MARK = "global_"
"""Prefix of the parameter names of global flags, so that an action may have a flag of the same spelling."""

ENVIRONMENT: Mapping[str, tuple[str, ...]] = {
    "server": ("KONSUL_SERVER", "KONSUL_ADDRESS", "KONSUL_URL"),
    "token": ("KONSUL_TOKEN",),
    "token_file": ("KONSUL_TOKEN_FILE",),
    "api_key": ("KONSUL_API_KEY",),
    "api_key_file": ("KONSUL_API_KEY_FILE",),
    "ca_cert": ("KONSUL_CA_CERT",),
    "client_cert": ("KONSUL_CLIENT_CERT",),
    "client_key": ("KONSUL_CLIENT_KEY",),
    "timeout": ("KONSUL_TIMEOUT",),
    "profile": ("KONSUL_PROFILE",),
}
TIMEOUT_S = 30.0
UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


class Form(StrEnum):
    """How results are written."""

    TEXT = "text"
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    RAW = "raw"


@dataclass(slots=True)
class Flags:
    """What was given on the command line, at any level; None and False mean not given."""

    given: dict[str, Any] = field(default_factory=dict)

    def text(self, name: str, profile: Mapping[str, Any]) -> str | None:
        """The value in force for a setting, or None."""
        if name in self.given:
            return str(self.given[name])
        for variable in ENVIRONMENT.get(name, ()):
            if os.environ.get(variable):
                return os.environ[variable]
        value = profile.get(name)
        return None if value in (None, "") else str(value)

    def on(self, name: str) -> bool:
        """Whether a switch was given."""
        return bool(self.given.get(name))

    @property
    def form(self) -> Form:
        """The output form asked for."""
        return Form(self.given.get("output", Form.TEXT))


def declare(
    global_server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="URL",
            help="Server address, or several of a cluster with commas [env KONSUL_SERVER].",
        ),
    ] = None,
    global_token: Annotated[
        str | None,
        typer.Option(
            "--token", metavar="JWT", help="Bearer token, but better by file or [env KONSUL_TOKEN]."
        ),
    ] = None,
    global_token_file: Annotated[
        str | None,
        typer.Option(
            "--token-file", metavar="FILE", help="File that holds the token [env KONSUL_TOKEN_FILE]."
        ),
    ] = None,
    global_api_key: Annotated[
        str | None, typer.Option("--api-key", metavar="KEY", help="API key [env KONSUL_API_KEY].")
    ] = None,
    global_api_key_file: Annotated[
        str | None,
        typer.Option("--api-key-file", metavar="FILE", help="File that holds it [env KONSUL_API_KEY_FILE]."),
    ] = None,
    global_ca_cert: Annotated[
        str | None, typer.Option("--ca-cert", metavar="FILE", help="Trust anchor, PEM [env KONSUL_CA_CERT].")
    ] = None,
    global_client_cert: Annotated[
        str | None,
        typer.Option(
            "--client-cert", metavar="FILE", help="Client certificate, PEM [env KONSUL_CLIENT_CERT]."
        ),
    ] = None,
    global_client_key: Annotated[
        str | None, typer.Option("--client-key", metavar="FILE", help="Its key, PEM [env KONSUL_CLIENT_KEY].")
    ] = None,
    global_tls_skip_verify: Annotated[
        bool,
        typer.Option(
            "--tls-skip-verify", "--insecure-skip-verify", help="Do not check the server's certificate."
        ),
    ] = False,
    global_timeout: Annotated[
        str | None,
        typer.Option(
            "--timeout", metavar="TIME", help="Limit of one call, 30s by default [env KONSUL_TIMEOUT]."
        ),
    ] = None,
    global_profile: Annotated[
        str | None, typer.Option("--profile", metavar="NAME", help="Profile to use [env KONSUL_PROFILE].")
    ] = None,
    global_output: Annotated[
        Form | None, typer.Option("--output", "--format", help="Output form; text by default.")
    ] = None,
    global_quiet: Annotated[bool, typer.Option("--quiet", help="Data and errors only.")] = False,
    global_no_color: Annotated[bool, typer.Option("--no-color", help="No colours [env NO_COLOR].")] = False,
) -> None:
    """Names every global flag; never called."""


@cache
def parameters(hidden: bool) -> tuple[Any, ...]:
    """The global flags as click parameters; hidden ones work but stay out of an action's help."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(declare)
    shown = [copy.copy(one) for one in get_command(app).params]
    lighten(shown)
    for one in shown:
        one.hidden = hidden  # type: ignore[attr-defined]
    return tuple(shown)


def seconds(text: str) -> float:
    """Seconds of Go duration text (`1m30s`) or a plain number. Raises Invalid for anything else and for
    zero."""
    parts = DURATION_PART.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        total = sum(float(number) * UNIT_S[unit] for number, unit in parts)
    elif re.fullmatch(r"\d+(\.\d+)?", text):
        total = float(text)
    else:
        total = 0.0
    if total <= 0:
        raise Invalid(f"{text!r} is not a positive duration such as 500ms, 30s or 1m30s")
    return total


def settings(flags: Flags, profile: Mapping[str, Any]) -> Settings:
    """The client's settings in force. Raises Invalid for what cannot be used."""
    from konsul.client import Policy, Settings
    from konsul.client.settings import ADDRESS

    timeout = flags.text("timeout", profile)
    token, api_key = _credentials(flags, profile)
    verify = not (flags.on("tls_skip_verify") or profile.get("tls_skip_verify"))
    return Settings(
        address=flags.text("server", profile) or ADDRESS,
        token=token,
        api_key=api_key,
        ca_cert=flags.text("ca_cert", profile),
        client_cert=flags.text("client_cert", profile),
        client_key=flags.text("client_key", profile),
        tls_verify=verify,
        policy=Policy(deadline_s=seconds(timeout) if timeout else TIMEOUT_S),
    )


def _credentials(flags: Flags, profile: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Token and API key, of the highest source that has either: two of different people are refused."""
    for source in (flags.given, _environment(), profile):
        found = _secret("token", source), _secret("api_key", source)
        if found != (None, None):
            return found
    return None, None


def _secret(name: str, source: Mapping[str, Any]) -> str | None:
    """A secret itself or the content of its file, the plain one first."""
    if source.get(name):
        return str(source[name])
    path = source.get(f"{name}_file")
    return read_secret(str(path), name.replace("_", " ")) if path else None


def _environment() -> dict[str, str]:
    return {
        name: os.environ[variable]
        for name, variables in ENVIRONMENT.items()
        for variable in reversed(variables)
        if os.environ.get(variable)
    }
