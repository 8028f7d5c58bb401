"""Makes and reads the certificates of a cluster: one authority, one certificate for each server.

Imported only by the actions that need it: the cryptography library takes longer to load than konsulctl.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from konsul.errors import Conflict, Invalid

PEER_NAME: Final = "server.konsul"
"""The name every server's certificate carries: peers check each other for it."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
HOST = re.compile(
    r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
)
Kind = TypeVar("Kind", bound=x509.ExtensionType)
EARLIER: Final = timedelta(hours=1)
"""Valid from a while ago: the clocks of servers differ."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as files."""

    cert: Path
    key: Path
    until: datetime


@dataclass(frozen=True, slots=True)
class Described:
    """What a certificate says about itself."""

    subject: str
    issuer: str
    names: list[str]
    since: datetime
    until: datetime
    is_authority: bool
    is_for_peers: bool
    fingerprint: str


def create_authority(folder: Path, name: str, days: int) -> Pair:
    """Makes an authority: `konsul-ca.pem` and `konsul-ca-key.pem`.

    Raises:
        Conflict: one of the files is there already.
        Invalid: they cannot be written.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(name)
    builder = _builder(subject, subject, key.public_key(), _end(days))
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _write(folder, "konsul-ca", builder.sign(key, hashes.SHA256()), key)


def create_certificate(
    folder: Path, name: str, sans: Iterable[str], days: int, authority: Path, authority_key: Path
) -> Pair:
    """Makes a server's certificate: `NAME.pem` and `NAME-key.pem`, for both sides of a connection. It ends no
    later than the authority's.

    Raises:
        Conflict: one of the files is there already.
        Invalid: a name or a file cannot be used.
    """
    if not NAME.fullmatch(name):
        raise Invalid(
            f"{name!r} is not a node's name: letters, digits, dots, dashes and underscores, at most 64"
        )
    names = list(dict.fromkeys(_name(one) for one in (PEER_NAME, name, *sans)))
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return _issue(folder, name, names, usages, days, authority, authority_key)


def create_client(folder: Path, user: str, days: int, authority: Path, authority_key: Path) -> Pair:
    """Makes a client's certificate: `USER.pem` and `USER-key.pem`. Its common name is the user's id; it lacks
    the name of servers, so it opens no door between them.

    Raises:
        Conflict: one of the files is there already.
        Invalid: the id or a file cannot be used.
    """
    if not USER.fullmatch(user):
        raise Invalid(
            f"{user!r} is not a user's id: letters, digits, dots, dashes, underscores and @, at most 64"
        )
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    return _issue(folder, user, [], usages, days, authority, authority_key)


def _issue(
    folder: Path,
    name: str,
    names: list[x509.GeneralName],
    usages: list[x509.ObjectIdentifier],
    days: int,
    authority: Path,
    authority_key: Path,
) -> Pair:
    issuer, issuer_key = _authority(authority, authority_key)
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = _builder(
        _subject(name), issuer.subject, key.public_key(), min(_end(days), issuer.not_valid_after_utc)
    )
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return _write(folder, name, builder.sign(issuer_key, hashes.SHA256()), key)


def describe(path: Path) -> Described:
    """What the first certificate in a file says.

    Raises:
        Invalid: there is none in PEM form.
    """
    found = _certificate(path)
    names = _names(found)
    usages = _extension(found, x509.ExtendedKeyUsage)
    both = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    return Described(
        subject=found.subject.rfc4514_string(),
        issuer=found.issuer.rfc4514_string(),
        names=names,
        since=found.not_valid_before_utc,
        until=found.not_valid_after_utc,
        is_authority=_is_authority(found),
        is_for_peers=PEER_NAME in names and (usages is None or both <= set(usages)),
        fingerprint=found.fingerprint(hashes.SHA256()).hex(":"),
    )


def _end(days: int) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def _subject(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Konsul"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - EARLIER)
        .not_valid_after(until)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.GeneralName:
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ip_address(text))
    if not HOST.fullmatch(text) or len(text) > 253:
        raise Invalid(f"{text!r} is neither a host name nor an IP address")
    return x509.DNSName(text)


def _names(found: x509.Certificate) -> list[str]:
    value = _extension(found, x509.SubjectAlternativeName)
    return [] if value is None else [str(one.value) for one in value]


def _extension(found: x509.Certificate, kind: type[Kind]) -> Kind | None:
    try:
        return found.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _is_authority(found: x509.Certificate) -> bool:
    constraints = _extension(found, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def _authority(cert: Path, key: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    issuer = _certificate(cert)
    if not _is_authority(issuer) or _extension(issuer, x509.SubjectKeyIdentifier) is None:
        raise Invalid(f"{cert} is not an authority's certificate")
    if issuer.not_valid_after_utc <= datetime.now(UTC):
        raise Invalid(f"{cert} has expired: make a new authority")
    try:
        issuer_key = serialization.load_pem_private_key(_read(key), password=None)
    except (ValueError, TypeError) as cause:
        raise Invalid(f"{key} holds no private key in PEM form without a password") from cause
    if (
        not isinstance(issuer_key, ec.EllipticCurvePrivateKey)
        or issuer_key.public_key() != issuer.public_key()
    ):
        raise Invalid(f"{key} is not the key of {cert}")
    return issuer, issuer_key


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(_read(path))
    except ValueError as cause:
        raise Invalid(f"{path} holds no certificate in PEM form") from cause


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as cause:
        raise Invalid(f"cannot read {path}: {cause.strerror}") from cause


def _write(folder: Path, name: str, cert: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    pair = Pair(folder / f"{name}.pem", folder / f"{name}-key.pem", cert.not_valid_after_utc)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise Invalid(f"cannot make {folder}: {cause.strerror}") from cause
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _create(pair.key, private, 0o600)
    try:
        _create(pair.cert, cert.public_bytes(serialization.Encoding.PEM), 0o644)
    except (Conflict, Invalid):
        pair.key.unlink()
        raise
    return pair


def _create(path: Path, content: bytes, mode: int) -> None:
    """A key's file is its owner's from its first moment on; a file that is there is never touched."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as cause:
        raise Conflict(f"{path} exists; it is not overwritten") from cause
    except OSError as cause:
        raise Invalid(f"cannot write {path}: {cause.strerror}") from cause
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as cause:
        path.unlink(missing_ok=True)
        raise Invalid(f"cannot write {path}: {cause.strerror}") from cause
