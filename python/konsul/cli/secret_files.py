"""Secrets in files: read only when nobody else can, written so that nobody else could at any moment."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

from konsul.cli.values import STDIN
from konsul.errors import Invalid

MODE_MAX = 0o600
SECRET_MAX_BYTES = 64 << 10


def read_secret(path: str, what: str) -> str:
    """The secret in a file, or on standard input for `-`, without blanks at its ends.

    Raises Invalid when the file cannot be read, is empty, or others than its owner may read or change it.
    """
    if path == STDIN:
        return _said(sys.stdin.buffer.read(SECRET_MAX_BYTES + 1), what, "standard input")
    try:
        with open(path, "rb") as file:
            check_private(os.fstat(file.fileno()), path, what)
            return _said(file.read(SECRET_MAX_BYTES + 1), what, path)
    except OSError as cause:
        raise Invalid(f"cannot read the {what} file {path}: {cause.strerror}") from cause


def check_private(found: os.stat_result, path: str, what: str) -> None:
    """Raises Invalid for a file with bits beyond 0600. A pipe, as `<(...)` makes it, has no such bits."""
    if stat.S_ISREG(found.st_mode) and found.st_mode & 0o777 & ~MODE_MAX:
        mode = stat.S_IMODE(found.st_mode)
        raise Invalid(
            f"the {what} file {path} has mode {mode:04o}, others may read it; run: chmod 600 {path}"
        )


def write_secret(path: str, secret: str) -> None:
    """Writes a new file of mode 0600. Raises Invalid when it exists or cannot be written."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, MODE_MAX)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{secret}\n")
    except OSError as cause:
        raise Invalid(f"cannot write {path}: {cause.strerror}") from cause


def replace_private(path: Path, text: str) -> None:
    """Writes a file whole or not at all, with mode 0600. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # mkstemp makes the file with mode 0600 from the start: no moment in which others could read it.
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".konsulctl-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def password(path: str | None, prompt: str, *, twice: bool = False) -> str:
    """A password from a file, standard input, or a terminal; never from an argument, which others see.

    Raises Invalid when there is neither a file nor a terminal, and when two typings differ.
    """
    if path is not None:
        return read_secret(path, "password")
    if not sys.stdin.isatty():
        raise Invalid("give the password with --password-file FILE (- is standard input)")
    from getpass import getpass

    typed = getpass(f"{prompt}: ")
    if twice and getpass(f"{prompt} again: ") != typed:
        raise Invalid("the passwords differ")
    return typed


def _said(source: bytes, what: str, where: str) -> str:
    if len(source) > SECRET_MAX_BYTES:
        raise Invalid(f"{where} holds no {what}: it has over {SECRET_MAX_BYTES} bytes")
    try:
        text = source.decode().strip()
    except UnicodeDecodeError as cause:
        raise Invalid(f"{where} holds no {what}: {cause}") from cause
    if not text:
        raise Invalid(f"{where} holds no {what}: it is empty")
    return text
