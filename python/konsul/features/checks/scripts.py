"""Script checks: programs of one directory that the operator filled, run without a shell.

Off unless two settings say otherwise. A definition chooses which of these programs, and its arguments:
no path, no environment, no shell to read them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
from pathlib import Path
from typing import Final

from konsul.features.catalog.status import OUTPUT_MAX_BYTES
from konsul.features.catalog.tables import CRITICAL, PASSING, WARNING
from konsul.features.checks.definition import Definition
from konsul.features.checks.outcome import Outcome, outcome

FLOOD_BYTES: Final = 1 << 20
"""A program that writes more than this is ended: reading it away costs this node, not the program."""
_READ_BYTES: Final = 64 << 10
_ENVIRONMENT: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
_STATUS_OF: Final = {0: PASSING, 1: WARNING}


class NotAllowed(Exception):
    """The program may not be run; the text says why."""


class Scripts:
    """Runs programs of `directory`; None: runs none."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = None if directory is None else directory.resolve()

    def program(self, name: str) -> Path:
        """The file behind a name.

        Raises:
            NotAllowed: scripts are off, or this is no program that lies in the directory itself.
        """
        if self._directory is None:
            raise NotAllowed("script checks are off on this node")
        if not name or name in (".", "..") or "/" in name or "\0" in name:
            raise NotAllowed(f"{name!r} is no name of a program: it has no path")
        path = self._directory / name
        try:
            # Not followed: a link would lead out of what the operator put here.
            found = path.lstat()
            above = self._directory.stat()
        except OSError as error:
            raise NotAllowed(f"{name!r} cannot be run: {error.strerror}") from None
        if not stat.S_ISREG(found.st_mode):
            raise NotAllowed(f"{name!r} is no regular file")
        if (found.st_mode | above.st_mode) & stat.S_IWOTH:
            raise NotAllowed(f"{name!r} or its directory may be written by everybody")
        if not os.access(path, os.X_OK):
            raise NotAllowed(f"{name!r} cannot be executed")
        return path

    async def run(self, check: Definition) -> Outcome:
        """Runs the program to its end, or to the end of whoever waits. Raises NotAllowed, OSError."""
        name, *arguments = check.script or ("",)
        program = self.program(name)
        if any("\0" in argument for argument in arguments):
            raise NotAllowed("an argument cannot hold NUL")
        heard = _Heard()
        loop = asyncio.get_running_loop()
        try:
            process = await self._started(program, arguments, heard)
            try:
                loop.add_reader(heard.fd, heard.listen)
                waiting = asyncio.ensure_future(process.wait())
                silent = asyncio.ensure_future(heard.ended.wait())
                try:
                    await asyncio.wait((waiting, silent), return_when=asyncio.FIRST_COMPLETED)
                    if heard.is_flooded:
                        return outcome(
                            CRITICAL, f"the program wrote more than {FLOOD_BYTES} bytes", heard.text()
                        )
                    code = await waiting
                finally:
                    waiting.cancel()
                    silent.cancel()
                    await asyncio.gather(waiting, silent, return_exceptions=True)
            finally:
                loop.remove_reader(heard.fd)
                await _end(process)
            # What it wrote before it ended is in the pipe; a child that still holds it open adds nothing.
            heard.listen()
        finally:
            heard.close()
        return outcome(_STATUS_OF.get(code, CRITICAL), heard.text() or f"exit status {code}")

    async def _started(
        self, program: Path, arguments: list[str], heard: _Heard
    ) -> asyncio.subprocess.Process:
        # A pipe of our own: asyncio's is waited for until every child that inherited it has closed it.
        try:
            return await asyncio.create_subprocess_exec(
                program,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=heard.write_fd,
                stderr=asyncio.subprocess.STDOUT,
                env=dict(_ENVIRONMENT),
                cwd=program.parent,
                # Its own group: what it starts ends with it.
                start_new_session=True,
            )
        finally:
            heard.close_writer()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kills the program's group, its children with it, and takes its exit status."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


class _Heard:
    """The beginning of what a program writes, and the pipe it writes to."""

    def __init__(self) -> None:
        self.fd, self.write_fd = os.pipe()
        os.set_blocking(self.fd, False)
        self.ended = asyncio.Event()
        """It closed its output, or wrote too much."""
        self._kept = bytearray()
        self._total = 0

    @property
    def is_flooded(self) -> bool:
        return self._total > FLOOD_BYTES

    def listen(self) -> None:
        """Takes what is there, a bounded piece: the loop comes back for the rest."""
        try:
            piece = os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return
        self._total += len(piece)
        self._kept += piece[: max(0, OUTPUT_MAX_BYTES - len(self._kept))]
        if (not piece or self.is_flooded) and not self.ended.is_set():
            self.ended.set()
            asyncio.get_running_loop().remove_reader(self.fd)

    def text(self) -> str:
        return self._kept.decode("utf-8", "replace").strip()

    def close_writer(self) -> None:
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1

    def close(self) -> None:
        self.close_writer()
        os.close(self.fd)
