"""Takes renewed certificates into use: a node that restarts for one is a node that was away for nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from konsul.engine import Engine
from konsul.errors import KonsulError
from konsul.features.cluster.cluster_log import ClusterLog

LOOK_S: Final = 5.0
Stamp = tuple[tuple[int, int, int], ...]


class Certificates:
    """Looks at the three files; when they changed and stayed so for one look, the core reads them anew."""

    def __init__(self, engine: Engine, log: ClusterLog) -> None:
        options = engine.options
        self._engine, self._log = engine, log
        self._files = tuple(filter(None, (options.tls_cert_file, options.tls_key_file, options.tls_ca_file)))
        self._in_use = self._stamp()
        self._seen = self._in_use

    async def run(self) -> None:
        """Looks until it is cancelled; without certificates there is nothing to look at."""
        while self._files:
            await asyncio.sleep(LOOK_S)
            self.look()

    def look(self) -> None:
        """One look. Files that are being written are left until the next: they may not fit each other yet."""
        now = self._stamp()
        is_settled, self._seen = now == self._seen, now
        if now == self._in_use or not is_settled:
            return
        # Also after a refusal: the same files would be refused again.
        self._in_use = now
        try:
            self._engine.reload_tls()
        except KonsulError as error:
            self._log.warning("the new certificates cannot be used, the old ones stay", why=str(error))
        else:
            self._log.info("certificates renewed", files=list(self._files))

    def _stamp(self) -> Stamp:
        found = []
        for name in self._files:
            try:
                stat = Path(name).stat()
            except OSError:
                # Gone for a moment while it is replaced.
                continue
            found.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
        return tuple(found)
