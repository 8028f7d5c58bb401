"""SIGHUP: everybody who holds files reads them again, without a restart."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence

from konsul.engine import Engine
from konsul.errors import KonsulError
from konsul.kernel.logging import logger


class HangupSignal:
    """Listens for SIGHUP in the running loop until it is closed."""

    def __init__(self, calls: Sequence[Callable[[], None]]) -> None:
        """`calls`: made one after the other; one that fails keeps nobody else from its own."""
        self._calls = calls
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._call)

    def _call(self) -> None:
        for call in tuple(self._calls):
            try:
                call()
            except Exception:
                logger().exception("SIGHUP: not everything was read again")

    def close(self) -> None:
        """Ignores the signal from now on, for its default ends the process."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def reload_peers(engine: Engine) -> None:
    """The certificates between nodes, read again; what cannot be used changes nothing."""
    try:
        engine.reload_tls()
    except KonsulError as error:
        logger().warning("peer certificates not reloaded: the old ones stay", error=str(error))
    else:
        logger().info("peer certificates reloaded")
