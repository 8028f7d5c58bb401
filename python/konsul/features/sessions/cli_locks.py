"""`konsulctl lock` and `konsulctl semaphore`: a command that runs while something is held."""

from __future__ import annotations

import platform
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from konsul.cli.command import doing
from konsul.errors import Conflict, Invalid

if TYPE_CHECKING:
    from konsul.cli.session import Session
    from konsul.client.locks import Lock, Semaphore

Path = Annotated[str, typer.Argument(metavar="PATH", help="The key that is locked.")]
Prefix = Annotated[str, typer.Argument(metavar="PATH", help="What the semaphore's keys begin with.")]
Limit = Annotated[int, typer.Argument(metavar="LIMIT", min=1, help="How many may hold it at once.")]
Command = Annotated[
    list[str],
    typer.Argument(metavar="-- COMMAND [ARGUMENT]...", help="What runs while it is held."),
]
Ttl = Annotated[
    str, typer.Option("--ttl", metavar="TIME", help="Others get it so long after this program dies.")
]
Wait = Annotated[
    str | None, typer.Option("--wait", metavar="TIME", help="How long to wait for it; else for ever.")
]
Try = Annotated[bool, typer.Option("--try", help="Do not wait: exit with 4 if it is held.")]
Name = Annotated[str, typer.Option("--name", metavar="NAME", help="What the session is called.")]
Grace = Annotated[
    str,
    typer.Option("--grace", metavar="TIME", help="From SIGTERM to SIGKILL for COMMAND when it is lost."),
]
_TTL = "15s"
_GRACE = "5s"


def lock(
    ctx: typer.Context,
    path: Path,
    command: Command,
    ttl: Ttl = _TTL,
    wait: Wait = None,
    try_: Try = False,
    name: Name = "",
    lock_delay: Annotated[
        str | None,
        typer.Option("--lock-delay", metavar="TIME", help="Nobody gets it for so long after it was lost."),
    ] = None,
    grace: Grace = _GRACE,
) -> None:
    """Run a command while holding the lock on a key.

    The exit code is the command's, 128 and the signal's number if one ended it. It finds the fencing token in
    KONSULCTL_LOCK_INDEX, and the key in KONSULCTL_LOCK_KEY.
    """
    with doing(ctx, "locking") as session, _terminated():
        held = session.client.lock(
            path, ttl=ttl, wait=_wait(wait, try_), name=name or _called(), lock_delay=lock_delay
        )
        code = _run(session, held, command, grace)
    raise typer.Exit(code)


def semaphore(
    ctx: typer.Context,
    path: Prefix,
    limit: Limit,
    command: Command,
    ttl: Ttl = _TTL,
    wait: Wait = None,
    try_: Try = False,
    name: Name = "",
    grace: Grace = _GRACE,
) -> None:
    """Run a command while holding one of a semaphore's places.

    The exit code is the command's, 128 and the signal's number if one ended it.
    """
    with doing(ctx, "taking a place") as session, _terminated():
        held = session.client.semaphore(path, limit, ttl=ttl, wait=_wait(wait, try_), name=name or _called())
        code = _run(session, held, command, grace)
    raise typer.Exit(code)


def _run(session: Session, wanted: Lock | Semaphore, command: list[str], grace: str) -> int:
    from konsul.client.holding import seconds
    from konsul.features.sessions.cli_child import run

    grace_s = seconds(grace)
    held = wanted.acquire()
    try:
        code = run(command, held, grace_s)
        lost, reason = held.lost.is_set(), held.lost.reason
    finally:
        wanted.release()
    if lost:
        session.complain("holding the lock", Conflict(f"it was lost: {reason}"))
    return code or (Conflict.exit_status if lost else 0)


def _wait(wait: str | None, try_: bool) -> str | None:
    if try_ and wait is not None:
        raise Invalid("--try and --wait cannot be combined")
    return "0s" if try_ else wait


def _called() -> str:
    return f"konsulctl@{platform.node() or 'somewhere'}"[:128]


@contextmanager
def _terminated() -> Iterator[None]:
    """SIGTERM and SIGHUP end the program like Ctrl-C: what it holds is given back."""

    def end(number: int, _frame: Any) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
