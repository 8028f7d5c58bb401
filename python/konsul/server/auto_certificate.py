"""A certificate of the node's own, signed by itself: for development, where there is no authority to ask.

Imported only where one is wanted: the cryptography library takes a while to load.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from konsul.errors import StartFailed

CERT_NAME: Final = "server.crt"
KEY_NAME: Final = "server.key"
RENEW_BEFORE: Final = timedelta(days=30)
_LIFE: Final = timedelta(days=365)
_EARLIER: Final = timedelta(hours=1)
"""Valid from a while ago: clocks differ."""


def ensure(folder: Path, hosts: Iterable[str]) -> tuple[Path, Path, bool]:
    """The files of a pair in `folder` that is good for a while, and whether it was made now.

    `hosts`: names and addresses it must hold besides those of this machine.

    Raises:
        StartFailed: the folder cannot be written.
    """
    cert, key = folder / CERT_NAME, folder / KEY_NAME
    names = _names(hosts)
    if _is_good(cert, key, names):
        return cert, key, False
    try:
        for one in (folder.parent, folder):
            one.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make(cert, key, names)
    except OSError as error:
        raise StartFailed(f"cannot write a certificate into {folder}: {error.strerror}") from None
    return cert, key, True


def _names(hosts: Iterable[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for host in dict.fromkeys(("localhost", "127.0.0.1", "::1", socket.gethostname(), *hosts)):
        with contextlib.suppress(ValueError):
            found.append(x509.IPAddress(ip_address(host)))
            continue
        # A host name may be anything; x509 wants ASCII.
        with contextlib.suppress(ValueError):
            found.append(x509.DNSName(host))
    return found


def _is_good(cert: Path, key: Path, names: Iterable[x509.GeneralName]) -> bool:
    """Readable, one pair, for these names, and not near its end."""
    try:
        found = x509.load_pem_x509_certificate(cert.read_bytes())
        private = serialization.load_pem_private_key(key.read_bytes(), None)
        held = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    return (
        isinstance(private, ec.EllipticCurvePrivateKey)
        and found.public_key() == private.public_key()
        and set(names) <= set(held)
        and found.not_valid_after_utc - datetime.now(UTC) > RENEW_BEFORE
    )


def _make(cert: Path, key: Path, names: Iterable[x509.GeneralName]) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    public = private.public_key()
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Konsul, made by the server itself"),
            x509.NameAttribute(NameOID.COMMON_NAME, "localhost"),
        ]
    )
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=False,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    now = datetime.now(UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    made = (
        x509.CertificateBuilder(subject, subject, public, x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(identifier, critical=False)
        .sign(private, hashes.SHA256())
    )
    _write(
        key,
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        0o600,
    )
    _write(cert, made.public_bytes(serialization.Encoding.PEM), 0o644)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Beside it and renamed: nobody reads half a file, and a key never has other rights than its own."""
    beside = path.with_suffix(path.suffix + ".new")
    with contextlib.suppress(FileNotFoundError):
        beside.unlink()
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
