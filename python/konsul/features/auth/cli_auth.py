"""`konsulctl auth`: logging in and out, and who one is. Imports the client's side only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from konsul.cli import options
from konsul.cli.command import Group, doing
from konsul.cli.logins import Login, Logins
from konsul.cli.output import Table
from konsul.cli.secret_files import password, write_secret
from konsul.errors import KonsulError, NotFound, Unauthenticated

if TYPE_CHECKING:
    from konsul.cli.session import Session

auth = Group("auth", "Log in and out, and see who you are.")

PasswordFile = Annotated[
    str | None,
    typer.Option(
        "--password-file", metavar="FILE", help="File with the password, - for standard input; else it asks."
    ),
]
Out = Annotated[
    str | None,
    typer.Option("--out", metavar="FILE", help="Write the secret to this new file, mode 0600, not here."),
]


@auth.action("login")
def login(
    ctx: typer.Context,
    user_id: Annotated[str, typer.Argument(metavar="USER-ID", help="The user's id.")],
    password_file: PasswordFile = None,
) -> None:
    """Log in and keep the login: commands use it where no token or API key is given."""
    with doing(ctx, "logging in") as session:
        secret = password(password_file, f"Password of {user_id}")
        with session.connect(stored=False) as client:
            made = Login.of(user_id, client.auth.login(user_id, secret))
        kept, server = Logins(), _server(session)
        kept.put(server, made)
        document = {"user_id": user_id, "server": server, "expires_at": _moment(made.expires_at_s)}
        session.out.done(f"Logged in as {user_id} at {server}", document)


@auth.action("logout")
def logout(ctx: typer.Context) -> None:
    """End the login that is kept, here and on the server."""
    with doing(ctx, "logging out") as session:
        kept, server = Logins(), _server(session)
        found = kept.get(server)
        if found is None:
            raise NotFound(f"there is no login at {server}")
        try:
            session.client.auth.logout()
        except Unauthenticated:
            # It is over already: what was wanted.
            session.out.note("The login was over already")
        kept.remove(server)
        session.out.done(
            f"Logged out {found.user_id} at {server}", {"user_id": found.user_id, "server": server}
        )


@auth.action("whoami")
def whoami(ctx: typer.Context) -> None:
    """Show whose the credentials in force are, and until when they hold."""
    with doing(ctx, "verifying credentials") as session:
        document = session.client.auth.verify()
        rows = [
            (_label(name), _plain(name, value)) for name, value in document.items() if value not in ("", [])
        ]
        text = "\n".join(session.out.aligned(rows))
        session.out.show(document, text=text, table=Table(("what", "value"), rows))


@auth.action("verify", hidden=True)
def verify(ctx: typer.Context) -> None:
    """The same as whoami."""
    whoami(ctx)


@auth.action("refresh")
def refresh(ctx: typer.Context) -> None:
    """Exchange the tokens of the login that is kept now; else it happens when they are over."""
    with doing(ctx, "refreshing the login") as session:
        made = _kept(session, always=True)
        text = f"Refreshed the login of {made.user_id}"
        document = {"user_id": made.user_id, "expires_at": _moment(made.expires_at_s)}
        session.out.done(text, document)


@auth.action("token")
def token(ctx: typer.Context) -> None:
    """Print the access token of the login that is kept, for other programs; it is a secret."""
    with doing(ctx, "getting the token") as session:
        made = _kept(session)
        document = {"token": made.token, "expires_at": _moment(made.expires_at_s)}
        session.out.show(document, text=made.token, raw=made.token.encode())


@auth.action("bootstrap")
def bootstrap(ctx: typer.Context, out: Out = None) -> None:
    """Make the first API key of a cluster, which may do everything, and print it: this once."""
    with doing(ctx, "bootstrapping") as session, session.connect(stored=False) as client:
        if out is not None:
            # Before the key is made: there is no second one if the file cannot be written.
            write_secret(out, "")
        try:
            document = client.auth.bootstrap()
        except KonsulError:
            if out is not None:
                discard(out)
            raise
        show_secret(session, out, str(document["token"]), document, "token")
        session.out.note("Keep it: it is shown this once. With it, make a user with the role admin.")


@auth.action("jwks")
def jwks(ctx: typer.Context) -> None:
    """Show the public keys that tokens are signed with, as JSON."""
    with doing(ctx, "getting keys") as session:
        import json

        document = session.client.auth.jwks()
        session.out.show(document, text=json.dumps(document, indent=2))


def show_secret(
    session: Session, out: str | None, secret: str, document: dict[str, Any], member: str
) -> None:
    """Prints a secret that is shown once, or fills the file `out` with it and prints the rest."""
    if out is None:
        session.out.show(document, text=secret, raw=secret.encode())
        return
    with open(out, "w", encoding="utf-8") as file:
        file.write(f"{secret}\n")
    rest = {name: value for name, value in document.items() if name != member}
    session.out.done(f"Written to {out}", rest | {"file": out})


def discard(path: str) -> None:
    """Removes the file of a secret that was not made."""
    import os

    os.unlink(path)


def _server(session: Session) -> str:
    return options.settings(session.flags, session.profile).address


def _kept(session: Session, *, always: bool = False) -> Login:
    server = _server(session)
    made = Logins().fresh(server, session.refresh, always=always)
    if made is None:
        raise NotFound(f"there is no login at {server}: run konsulctl auth login")
    return made


def _moment(at_s: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize() + ":"


def _plain(name: str, value: Any) -> str:
    if name == "expires":
        return _moment(value)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
