"""Whom a client's certificate names: the common name of its subject is a user id.

The listener has checked the chain and the signature; here it is only read.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from konsul.errors import Unauthenticated
from konsul.features.auth.credentials import is_user_id

_FINGERPRINT_CHARS: Final = 32
_UNREADABLE: Final = "certificate names no user"


@dataclass(frozen=True, slots=True)
class Subject:
    """What counts of a certificate."""

    name: str
    fingerprint: str
    """The beginning of its SHA-256 in hex."""
    expires_at_s: float


def read(certificate: bytes) -> Subject:
    """The subject of a certificate (DER).

    Raises:
        Unauthenticated: it has not exactly one common name, or that is no user id.
    """
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        names = parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        raise Unauthenticated(_UNREADABLE) from None
    # With several names, which one counts would be a matter of taste, and so a way in.
    if len(names) != 1 or not isinstance(names[0].value, str) or not is_user_id(names[0].value):
        raise Unauthenticated(_UNREADABLE)
    fingerprint = hashlib.sha256(certificate).hexdigest()[:_FINGERPRINT_CHARS]
    return Subject(names[0].value, fingerprint, parsed.not_valid_after_utc.timestamp())
