"""`konsulctl version`: both sides, or only this one."""

from __future__ import annotations

from typing import Annotated

import typer

from konsul import __version__
from konsul.cli.command import Single, doing


def show(
    ctx: typer.Context,
    client: Annotated[bool, typer.Option("--client", help="Do not ask the server.")] = False,
) -> None:
    """Show the versions of konsulctl and of the server."""
    with doing(ctx, "getting server version") as session:
        mine = f"konsulctl version {__version__}"
        if client:
            session.out.show({"client": __version__}, text=mine)
            return
        both = session.client.version()
        document = {"client": both.client, "server": both.server}
        session.out.show(document, text=f"{mine}\nserver version {both.server}")


COMMANDS = (Single("version", show),)
