"""`konsulctl user`: who may log in. Imports the client's side only."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from konsul.cli.command import Group, doing
from konsul.cli.secret_files import password
from konsul.cli.values import meant, parted
from konsul.errors import Invalid
from konsul.features.auth.cli_auth import PasswordFile
from konsul.features.auth.cli_views import show_all, show_one, shown

user = Group("user", "Manage users: who may log in, and what they may do.")

UserId = Annotated[str, typer.Argument(metavar="USER-ID", help="The user's id.")]
Username = Annotated[
    str | None, typer.Option("--username", metavar="TEXT", help="What people call the user.")
]
Roles = Annotated[
    list[str] | None,
    typer.Option("--role", metavar="ROLE", help="user or admin; several times, or with commas."),
]
Policies = Annotated[
    list[str] | None,
    typer.Option("--policy", metavar="NAME", help="A policy; several times, or with commas. Empty: none."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask whether it is meant.")]
COLUMNS = ("user_id", "username", "roles", "policies", "enabled")


@user.action("create")
def create(
    ctx: typer.Context,
    user_id: UserId,
    password_file: PasswordFile = None,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="Nobody can log in with one: for client certificates.")
    ] = False,
    username: Username = None,
    roles: Roles = None,
    policies: Policies = None,
) -> None:
    """Make a user. The password is asked for, or comes from a file."""
    with doing(ctx, "creating user") as session:
        if no_password and password_file is not None:
            raise Invalid("--no-password and --password-file exclude each other")
        secret = None if no_password else password(password_file, f"Password of {user_id}", twice=True)
        document = session.client.auth.users.create(
            user_id, password=secret, username=username, roles=parted(roles), policies=parted(policies)
        )
        session.out.done(f"Successfully created user: {user_id}", document)


@user.action("list")
def list_(ctx: typer.Context) -> None:
    """List users."""
    with doing(ctx, "listing users") as session:
        found = session.client.auth.users.list()
        show_all(session, found, "users", COLUMNS, _line)


@user.action("get")
def get(ctx: typer.Context, user_id: UserId) -> None:
    """Show a user."""
    with doing(ctx, "getting user") as session:
        document = session.client.auth.users.get(user_id)
        show_one(session, document, COLUMNS)


@user.action("update")
def update(
    ctx: typer.Context,
    user_id: UserId,
    username: Username = None,
    roles: Roles = None,
    policies: Policies = None,
) -> None:
    """Change roles, policies or the name; what is not given stays. Holds at once."""
    with doing(ctx, "updating user") as session:
        if username is None and not roles and not policies:
            raise Invalid("give at least one of --username, --role and --policy")
        document = session.client.auth.users.update(
            user_id, username=username, roles=parted(roles), policies=parted(policies)
        )
        session.out.done(f"Successfully updated user: {user_id}", document)


@user.action("passwd")
def passwd(
    ctx: typer.Context,
    user_id: UserId,
    password_file: PasswordFile = None,
    old_password_file: Annotated[
        str | None,
        typer.Option("--old-password-file", metavar="FILE", help="File with the old one, for one's own."),
    ] = None,
) -> None:
    """Change a password and end the user's logins; one's own needs the old one too."""
    with doing(ctx, "changing password") as session:
        who = session.client.auth.verify()
        is_own = who.get("type") == "user" and who.get("user_id") == user_id
        old = password(old_password_file, "Old password") if is_own else None
        new = password(password_file, f"New password of {user_id}", twice=True)
        document = session.client.auth.users.set_password(user_id, new, old_password=old)
        session.out.done(f"Successfully changed the password of {user_id}; all logins are over", document)


@user.action("disable")
def disable(ctx: typer.Context, user_id: UserId) -> None:
    """End a user's logins and let none in."""
    with doing(ctx, "disabling user") as session:
        document = session.client.auth.users.disable(user_id)
        session.out.done(f"Successfully disabled user: {user_id}", document)


@user.action("enable")
def enable(ctx: typer.Context, user_id: UserId) -> None:
    """Let a disabled user log in again."""
    with doing(ctx, "enabling user") as session:
        document = session.client.auth.users.enable(user_id)
        session.out.done(f"Successfully enabled user: {user_id}", document)


@user.action("delete")
def delete(ctx: typer.Context, user_id: UserId, yes: Yes = False) -> None:
    """Remove a user with all logins."""
    with doing(ctx, "deleting user") as session:
        if not (yes or meant(f'Are you sure you want to delete user "{user_id}"?')):
            session.out.note("Deletion canceled")
            return
        document = session.client.auth.users.delete(user_id)
        session.out.done(f"Successfully deleted user: {user_id}", document)


def _line(document: dict[str, Any]) -> list[str]:
    state = "" if document.get("enabled", True) else "disabled"
    policies = shown(document.get("policies", [])) or "no policies"
    return [str(document["user_id"]), shown(document.get("roles", [])), policies, state]
