"""`konsulctl notes`."""

from __future__ import annotations

import typer

from konsul.cli.command import Group, doing
from konsul.client.request import Call, Request, segment

notes = Group("notes", "Read notes.")
COMMANDS = (notes,)


@notes.action("show")
def show(ctx: typer.Context, slug: str) -> None:
    """Print the text of a note."""
    with doing(ctx, "showing note") as session:
        request = Request("GET", f"/notes/{segment(slug)}", "GET /notes/{slug}", repeatable=True)
        note = session.client.call(Call(request, lambda answer: answer.json()))
        session.out.show(note, text=note["text"])
