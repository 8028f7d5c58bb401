"""Small and read-only disks without touching the machine: mounts in a namespace of the server's own."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

from tests.process import Server


@cache
def may_mount() -> bool:
    """Whether a child may have a mount namespace of its own; containers often forbid it."""
    probe = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"]
    try:
        return subprocess.run(probe, capture_output=True, timeout=20, check=False).returncode == 0
    except FileNotFoundError:
        return False


def on_tmpfs(mount_point: Path, size_mib: int) -> tuple[str, ...]:
    """What to put before a command so that it sees `mount_point` as an empty disk of `size_mib`."""
    mount = f'mount -t tmpfs -o size={size_mib}m tmpfs "$0" && exec "$@"'
    return ("unshare", "-rm", "sh", "-c", mount, str(mount_point))


def read_only(folder: Path) -> tuple[str, ...]:
    """What to put before a command so that it sees `folder` read-only."""
    mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    return ("unshare", "-rm", "sh", "-c", mount, str(folder))


def inside(server: Server, path: Path) -> Path:
    """`path` as the server's own namespace has it."""
    assert server.process is not None
    return Path(f"/proc/{server.process.pid}/root") / path.relative_to("/")


def free_bytes(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def take(path: Path, size: int) -> None:
    """Occupies `size` bytes of the disk under `path`."""
    with path.open("wb") as ballast:
        os.posix_fallocate(ballast.fileno(), 0, size)
