"""`konsulctl apikey`: keys for programs. Imports the client's side only."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from konsul.cli import values
from konsul.cli.command import Group, doing
from konsul.cli.options import seconds
from konsul.cli.secret_files import write_secret
from konsul.cli.values import meant, parted
from konsul.errors import Invalid, KonsulError
from konsul.features.auth.cli_auth import Out, discard, show_secret
from konsul.features.auth.cli_views import show_all, show_one, shown

apikey = Group("apikey", "Manage API keys: credentials for programs.")

KeyId = Annotated[str, typer.Argument(metavar="KEY-ID", help="Its id, as apikey list shows it.")]
Permissions = Annotated[
    list[str] | None,
    typer.Option(
        "--permission",
        "--policy",
        metavar="NAME",
        help="A policy; several times, or with commas. *: everything.",
    ),
]
Metadata = Annotated[
    list[str] | None, typer.Option("--meta", metavar="KEY=VALUE", help="A note; several times.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask whether it is meant.")]
COLUMNS = ("id", "name", "permissions", "enabled", "expires_at", "last_used_at")


@apikey.action("create")
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    permissions: Permissions = None,
    metadata: Metadata = None,
    expires_in: Annotated[
        str | None, typer.Option("--expires-in", metavar="TIME", help="How long it holds; else for ever.")
    ] = None,
    out: Out = None,
) -> None:
    """Make a key and print it, this once."""
    with doing(ctx, "creating API key") as session:
        lifetime_s = None if expires_in is None else max(1, round(seconds(expires_in)))
        if out is not None:
            write_secret(out, "")
        try:
            made = session.client.auth.api_keys.create(
                name, permissions=parted(permissions), metadata=_pairs(metadata), expires_in_s=lifetime_s
            )
        except KonsulError:
            if out is not None:
                discard(out)
            raise
        show_secret(session, out, made.key, {"key": made.key, "api_key": made.document}, "key")
        session.out.note(f"Keep it: it is shown this once. Its id is {made.document['id']}")


@apikey.action("list")
def list_(ctx: typer.Context) -> None:
    """List keys, without their secrets."""
    with doing(ctx, "listing API keys") as session:
        found = session.client.auth.api_keys.list()
        show_all(session, found, "API keys", COLUMNS, _line)


@apikey.action("get")
def get(ctx: typer.Context, key_id: KeyId) -> None:
    """Show a key, without its secret."""
    with doing(ctx, "getting API key") as session:
        document = session.client.auth.api_keys.get(key_id)
        show_one(session, document, COLUMNS)


@apikey.action("update")
def update(
    ctx: typer.Context,
    key_id: KeyId,
    name: Annotated[str | None, typer.Option("--name", metavar="TEXT", help="What it is for.")] = None,
    permissions: Permissions = None,
    metadata: Metadata = None,
) -> None:
    """Change a key; what is not given stays. Holds at once."""
    with doing(ctx, "updating API key") as session:
        if name is None and not permissions and not metadata:
            raise Invalid("give at least one of --name, --permission and --meta")
        document = session.client.auth.api_keys.update(
            key_id, name=name, permissions=parted(permissions), metadata=_pairs(metadata)
        )
        session.out.done(f"Successfully updated API key: {key_id}", document)


@apikey.action("revoke")
def revoke(ctx: typer.Context, key_id: KeyId) -> None:
    """Make a key useless until it is enabled again."""
    with doing(ctx, "revoking API key") as session:
        document = session.client.auth.api_keys.revoke(key_id)
        session.out.done(f"Successfully revoked API key: {key_id}", document)


@apikey.action("enable")
def enable(ctx: typer.Context, key_id: KeyId) -> None:
    """Undo a revocation."""
    with doing(ctx, "enabling API key") as session:
        document = session.client.auth.api_keys.enable(key_id)
        session.out.done(f"Successfully enabled API key: {key_id}", document)


@apikey.action("delete")
def delete(ctx: typer.Context, key_id: KeyId, yes: Yes = False) -> None:
    """Remove a key."""
    with doing(ctx, "deleting API key") as session:
        if not (yes or meant(f'Are you sure you want to delete API key "{key_id}"?')):
            session.out.note("Deletion canceled")
            return
        document = session.client.auth.api_keys.delete(key_id)
        session.out.done(f"Successfully deleted API key: {key_id}", document)


def _pairs(given: list[str] | None) -> dict[str, str] | None:
    return {one.key: one.value.decode() for one in values.pairs(given)} if given else None


def _line(document: dict[str, Any]) -> list[str]:
    permissions = shown(document.get("permissions")) or "no policies"
    until = document.get("expires_at")
    state = "" if document.get("enabled", True) else "revoked"
    lifetime = f"until {until}" if until else "for ever"
    return [str(document["id"]), str(document.get("name", "")), permissions, lifetime, state]
