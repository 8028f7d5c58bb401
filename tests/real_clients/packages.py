"""npm packages: installed once for each lock file, from npm's own cache where it has them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).parent
INSTALL_MAX_S = 900
UNPACK_MAX_S = 120
CHROMIUMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


class Missing(Exception):
    """A program that the tests drive is not here and could not be fetched; says what to install."""


def node() -> Path:
    """The folder of the clients for Node, their packages installed."""
    return _installed(HERE / "node")


def chromium() -> tuple[str, dict[str, str]]:
    """A Chromium and the variables it needs: `KONSUL_TEST_CHROMIUM`, the machine's own, else npm's."""
    own = os.environ.get("KONSUL_TEST_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if own:
        return own, {}
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise Missing(
            "no Chromium: install one (Debian: apt-get install chromium), or set KONSUL_TEST_CHROMIUM"
        )
    unpacked = HERE / "chromium" / "unpacked"
    binary, libraries = unpacked / "chromium", unpacked / "lib"
    if not binary.exists():
        _run(["node", "unpack.mjs", str(unpacked)], _installed(HERE / "chromium"), UNPACK_MAX_S)
    if not libraries.exists():
        with tarfile.open(unpacked / "libraries.tar") as packed:
            packed.extractall(unpacked, filter="data")
    return str(binary), {"LD_LIBRARY_PATH": str(libraries)}


def _installed(folder: Path) -> Path:
    lock = (folder / "package-lock.json").read_bytes()
    stamp = folder / "node_modules" / ".installed-lock"
    if not stamp.exists() or stamp.read_bytes() != lock:
        _run(["npm", "ci", "--prefer-offline", "--no-progress"], folder, INSTALL_MAX_S)
        stamp.write_bytes(lock)
    return folder


def _run(command: list[str], folder: Path, within_s: int) -> None:
    if shutil.which(command[0]) is None:
        raise Missing(f"{command[0]} is missing: install Node 20 or newer with npm (Debian: nodejs npm)")
    ended = subprocess.run(
        command,
        cwd=folder,
        timeout=within_s,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if ended.returncode:
        raise Missing(
            f"`{' '.join(command)}` in {folder.name} failed:\n{(ended.stdout + ended.stderr)[-2000:]}"
        )
