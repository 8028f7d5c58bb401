"""`konsulctl profile`: named servers and credentials."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from konsul.cli.command import Group, doing
from konsul.cli.options import settings
from konsul.cli.output import Table
from konsul.cli.profiles import FIELDS, SECRETS, Profiles
from konsul.errors import Invalid, NotFound

profile = Group("profile", "Manage named servers and credentials.")
COMMANDS = (profile,)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the profile.")]


@profile.action("add")
def add(ctx: typer.Context, name: Name) -> None:
    """Store the global flags given here as a profile; the first one is used at once.

    With --token or --api-key the secret is stored in the file; with --token-file or --api-key-file only
    the path.
    """
    with doing(ctx, "adding profile") as session:
        given = session.flags.given
        entry = {field: _durable(field, given[field]) for field in FIELDS if field in given}
        if not entry:
            raise Invalid("give at least one of --server, --token-file, --ca-cert and so on")
        settings(session.flags, {})
        profiles = Profiles.load()
        profiles.entries[name] = entry
        profiles.current = profiles.current or name
        profiles.save()
        session.out.done(f"Successfully added profile: {name}", {"profile": name})


@profile.action("list")
def list_(ctx: typer.Context) -> None:
    """List profiles; secrets show as set, never their text."""
    with doing(ctx, "listing profiles") as session:
        profiles = Profiles.load()
        entries = {name: public(entry) for name, entry in sorted(profiles.entries.items())}
        current = profiles.current
        text = [
            f"{'*' if n == current else ' '} {n} - {e.get('server', '(default)')}" for n, e in entries.items()
        ]
        rows = [[n, n == current, *(e.get(field, "") for field in FIELDS)] for n, e in entries.items()]
        session.out.show(
            [{"name": n, "current": n == current, **e} for n, e in entries.items()],
            text="\n".join(["Profiles:", *text] if text else ["No profiles found"]),
            table=Table(("name", "current", *FIELDS), rows),
        )


@profile.action("use")
def use(ctx: typer.Context, name: Name) -> None:
    """Make a profile the one in force."""
    with doing(ctx, "choosing profile") as session:
        profiles = Profiles.load()
        profiles.chosen(name)
        profiles.current = name
        profiles.save()
        session.out.done(f"Successfully chose profile: {name}", {"profile": name})


@profile.action("remove")
def remove(ctx: typer.Context, name: Name) -> None:
    """Remove a profile from the file."""
    with doing(ctx, "removing profile") as session:
        profiles = Profiles.load()
        if profiles.entries.pop(name, None) is None:
            raise NotFound(f"profile {name!r} is not in {profiles.path}")
        if profiles.current == name:
            profiles.current = ""
        profiles.save()
        session.out.done(f"Successfully removed profile: {name}", {"profile": name})


def _durable(field: str, value: Any) -> Any:
    """Paths as they are from everywhere, for a profile is used from any folder."""
    return os.path.abspath(value) if field.endswith(("_file", "_cert", "client_key")) else value


def public(entry: dict[str, Any]) -> dict[str, Any]:
    """A profile without its secrets."""
    return {name: "(set)" if name in SECRETS and value else value for name, value in entry.items()}
