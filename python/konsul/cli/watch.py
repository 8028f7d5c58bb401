"""`--watch`: the same question again and again, until Ctrl-C."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import typer

from konsul.cli.options import Form
from konsul.cli.session import Session, cause_of
from konsul.errors import Busy, KonsulError, NoLeader, NotFound, Stopping, Timeout, Unreachable

PASSING = (Busy, NoLeader, NotFound, Stopping, Timeout, Unreachable)
"""Refusals of a cluster in trouble, which is when somebody watches: told, and asked again."""
HOME_AND_CLEAR = "\x1b[H\x1b[J"
pause_s = time.sleep
"""A seam for tests, which do not wait."""


def watch(
    session: Session,
    what: str,
    interval_s: float,
    ask: Callable[[], Any],
    show: Callable[[Any], None],
) -> None:
    """Shows `ask()` every `interval_s` seconds; Ctrl-C ends it and is no failure.

    A terminal shows the newest answer only. Elsewhere answers follow one another: as one line of JSON each
    with `--output json`, else with an empty line between them.

    Raises:
        KonsulError: a refusal that asking again does not change.
    """
    try:
        while True:
            try:
                answer, refusal = ask(), None
            except PASSING as error:
                answer, refusal = None, error
            _frame(session, what, interval_s, refusal)
            if refusal is None:
                _shown(session, answer, show)
            sys.stdout.flush()
            pause_s(interval_s)
    except KeyboardInterrupt:
        session.out.note("")


def _frame(session: Session, what: str, interval_s: float, refusal: KonsulError | None) -> None:
    form = session.out.form
    if sys.stdout.isatty() and form in (Form.TEXT, Form.TABLE):
        typer.echo(f"{HOME_AND_CLEAR}Every {interval_s:g}s, Ctrl-C ends it. {time.strftime('%H:%M:%S')}\n")
    if refusal is not None:
        session.out.error(f"Error {what}:", cause_of(refusal))


def _shown(session: Session, answer: Any, show: Callable[[Any], None]) -> None:
    if session.out.form is Form.JSON:
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    show(answer)
    if not sys.stdout.isatty():
        typer.echo("---" if session.out.form is Form.YAML else "")
