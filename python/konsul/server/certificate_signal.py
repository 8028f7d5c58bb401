"""SIGHUP reads the peers' certificates again: a renewal without a restart."""

from __future__ import annotations

import asyncio
import signal

from konsul.engine import Engine
from konsul.errors import KonsulError
from konsul.kernel import logging


class CertificateSignal:
    """Listens for SIGHUP in the running loop until it is closed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)

    def _reload(self) -> None:
        log = logging.logger()
        try:
            self._engine.reload_tls()
        except KonsulError as error:
            log.warning("peer certificates not reloaded: the old ones stay", error=str(error))
        else:
            log.info("peer certificates reloaded")

    def close(self) -> None:
        """Ignores the signal from now on, for its default ends the process."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
