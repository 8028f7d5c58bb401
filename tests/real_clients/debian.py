"""Programs of Debian: the machine's own, else its packages unpacked beside the tests, not installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.real_clients.packages import Missing

FOLDER = Path(__file__).parent / "unpacked"
FETCH_MAX_S = 600
_INSTALLED = re.compile(r"^Inst (\S+)", re.MULTILINE)
_ROOM = ("usr/sbin", "usr/bin", "sbin", "bin")


def program(name: str, package: str) -> tuple[str, dict[str, str]]:
    """Where `name` is, and the variables that it needs to run.

    Raises:
        Missing: it is not here and cannot be fetched; says what to install.
    """
    own = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if own:
        return own, {}
    folder = _unpacked(package)
    for room in _ROOM:
        if (folder / room / name).exists():
            libraries = [
                str(path)
                for part in ("usr/lib", "lib")
                for path in sorted((folder / part).glob("*-linux-gnu"))
            ]
            inner = [str(Path(path) / "dnsmasq") for path in libraries]
            return str(folder / room / name), {"LD_LIBRARY_PATH": ":".join(libraries + inner)}
    raise Missing(f"the package {package} has no {name}: install it (Debian: apt-get install {package})")


def _unpacked(package: str) -> Path:
    """The package and what it needs that this machine lacks, in a folder of its own."""
    folder = FOLDER / package
    if not (folder / ".whole").exists():
        shutil.rmtree(folder, ignore_errors=True)
        archives = folder / "archives"
        archives.mkdir(parents=True)
        _fetch(package, archives)
        for archive in sorted(archives.glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(archive), str(folder)], archives, package)
        shutil.rmtree(archives)
        (folder / ".whole").touch()
    return folder


def _fetch(package: str, archives: Path) -> None:
    """Downloads the package and what it needs.

    A fresh machine knows of no packages, and one that has stood a while knows of some that were replaced by
    security updates: then the lists are brought up to date first.
    """
    try:
        _run(["apt-get", "download", *_needed(package)], archives, package)
    except Missing:
        if os.geteuid():
            raise
        _run(["apt-get", "update", "--quiet"], archives, package)
        _run(["apt-get", "download", *_needed(package)], archives, package)


def _needed(package: str) -> list[str]:
    """The packages that an installation would bring."""
    command = ["apt-get", "install", "--simulate", "--no-install-recommends", package]
    told = _run(command, Path.cwd(), package)
    return list(dict.fromkeys([package, *_INSTALLED.findall(told)]))


def _run(command: list[str], folder: Path, package: str) -> str:
    what = f"install {package} (Debian: apt-get install {package})"
    if sys.platform != "linux" or shutil.which(command[0]) is None:
        raise Missing(f"{command[0]} is missing, and so is {package}: {what}")
    options = ["-o", "Acquire::Retries=3"] if command[0] == "apt-get" else []
    if options and not os.geteuid():
        options += ["-o", "APT::Sandbox::User=root"]
    ended = subprocess.run(
        [command[0], *options, *command[1:]],
        cwd=folder,
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        timeout=FETCH_MAX_S,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if ended.returncode:
        raise Missing(f"`{' '.join(command)}` failed: {what}\n{(ended.stdout + ended.stderr)[-2_000:]}")
    return ended.stdout
