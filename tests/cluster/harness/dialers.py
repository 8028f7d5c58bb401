"""Whose socket is at the other end of a connection: asked of the kernel, so that nodes need not tell."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def owner(local_port: int, remote_port: int, pids: Iterable[int]) -> int | None:
    """The process among `pids` that holds the loopback socket from `local_port` to `remote_port`."""
    inode = _inode(f":{local_port:04X}", f":{remote_port:04X}")
    if inode is None:
        return None
    wanted = f"socket:[{inode}]"
    return next((pid for pid in pids if _holds(pid, wanted)), None)


def _inode(local: str, remote: str) -> str | None:
    for table in TABLES:
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[1].endswith(local) and fields[2].endswith(remote):
                return fields[9]
    return None


def _holds(pid: int, wanted: str) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    for name in names:
        try:
            if os.readlink(f"{folder}/{name}") == wanted:
                return True
        except OSError:
            continue
    return False
