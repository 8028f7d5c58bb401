"""Certificates of a test cluster, made as an operator makes them: with `konsulctl tls`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

MAKE_MAX_S = 60


def authority(folder: Path) -> Path:
    """A folder with a new authority in it."""
    folder.mkdir(parents=True)
    _konsulctl("tls", "ca", "create", "--dir", str(folder))
    return folder


def settings_of(name: str, folder: Path, signed_by: Path, trusts: Path | None = None) -> dict[str, str]:
    """Makes the certificate of one node and returns the settings with which it speaks TLS."""
    folder.mkdir(parents=True, exist_ok=True)
    signer = ("--ca", str(signed_by / "konsul-ca.pem"), "--ca-key", str(signed_by / "konsul-ca-key.pem"))
    _konsulctl("tls", "cert", "create", name, "--san", "127.0.0.1", "--dir", str(folder), *signer)
    return {
        "KONSUL_RAFT_TLS_ENABLED": "true",
        "KONSUL_RAFT_TLS_CERT_FILE": str(folder / f"{name}.pem"),
        "KONSUL_RAFT_TLS_KEY_FILE": str(folder / f"{name}-key.pem"),
        "KONSUL_RAFT_TLS_CA_FILE": str((trusts or signed_by) / "konsul-ca.pem"),
    }


def _konsulctl(*arguments: str) -> None:
    command = [sys.executable, "-m", "konsul.cli.main", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=MAKE_MAX_S, check=False)
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.stdout}{done.stderr}"
