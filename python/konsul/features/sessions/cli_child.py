"""The command that runs while a lock is held: it gets our signals, and is ended when the lock is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from konsul.client.locks import Held

NOT_FOUND: Final = 127
NOT_STARTED: Final = 126
_FORWARDED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def run(command: Sequence[str], held: Held, grace_s: float) -> int:
    """Runs a program, without a shell, until it ends; its exit status as a shell tells it.

    When the lock is lost it gets SIGTERM, and `grace_s` later SIGKILL; so do all of its process group, which
    is its own unless it has the terminal.
    """
    has_terminal = sys.stdin is not None and sys.stdin.isatty()
    told = {"KONSULCTL_LOCK_KEY": held.path, "KONSULCTL_LOCK_INDEX": str(held.lock_index)}
    try:
        child = subprocess.Popen(  # noqa: S603 - what runs is what we were told to run
            list(command), env=os.environ | told, process_group=None if has_terminal else 0
        )
    except FileNotFoundError as error:
        sys.stderr.write(f"Error running {command[0]}: {error.strerror}\n")
        return NOT_FOUND
    except OSError as error:
        sys.stderr.write(f"Error running {command[0]}: {error.strerror}\n")
        return NOT_STARTED
    signalled = child.send_signal if has_terminal else _group_of(child)
    over = threading.Event()
    guard = threading.Thread(target=_guard, args=(held, signalled, over, grace_s), daemon=True)
    guard.start()
    with _forwarding(signalled, has_terminal=has_terminal):
        code = child.wait()
    over.set()
    return 128 - code if code < 0 else code


def _group_of(child: subprocess.Popen[bytes]) -> Callable[[int], None]:
    def send(number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)

    return send


def _guard(held: Held, send: Callable[[int], None], over: threading.Event, grace_s: float) -> None:
    """Ends when the lock is lost or given back, which is the latest once the program has ended."""
    held.lost.wait()
    if over.is_set():
        return
    send(signal.SIGTERM)
    if not over.wait(grace_s):
        send(signal.SIGKILL)


@contextmanager
def _forwarding(send: Callable[[int], None], *, has_terminal: bool) -> Iterator[None]:
    """Signals go to the program: when it has ended, so have we. What a terminal sends it has already."""

    def forward(number: int, _frame: Any) -> None:
        if not (has_terminal and number in (signal.SIGINT, signal.SIGQUIT)):
            send(number)

    before = {number: signal.signal(number, forward) for number in _FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
