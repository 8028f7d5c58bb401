"""Keys that sign tokens: where they come from, which one signs, what others may know of them.

Every key has one id and one algorithm. What a token's header says of its algorithm only has to agree: the
classic forgeries (`none`, a public key taken for an HMAC secret) begin with believing the header.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from joserfc.jwk import Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from konsul.errors import Invalid
from konsul.features.auth.config import SECRET_BYTES_MIN, AuthSettings
from konsul.features.auth.files import read_small

KEYS_MAX: Final = 64
_RSA_BITS_MIN: Final = 2_048
_MARK_CHARS: Final = 12
_KID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class OneAlgorithm(JWSRegistry):
    """Knows the algorithm of one key and no other."""

    def __init__(self, name: str) -> None:
        super().__init__(algorithms=[name])
        self._name = name

    def get_alg(self, name: str) -> Any:
        """The algorithm. Not joserfc's own way, which warns at every token that RFC 9864 prefers `Ed25519` to
        `EdDSA`: what verifies tokens elsewhere mostly knows only the older name."""
        if name != self._name:
            return super().get_alg(name)
        return self.algorithms[name]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key. `mark` names its very bytes: a file that was replaced has the same `kid` and another mark."""

    kid: str
    algorithm: str
    mark: str
    key: Key = field(repr=False, compare=False)
    registry: OneAlgorithm = field(repr=False, compare=False)
    can_sign: bool = True

    def public(self) -> dict[str, Any] | None:
        """The public key as a JWK (RFC 7517), or None for a secret, which has none."""
        if isinstance(self.key, OctKey):
            return None
        return {**self.key.as_dict(private=False), "kid": self.kid, "alg": self.algorithm, "use": "sig"}


@dataclass(frozen=True, slots=True)
class Keys:
    """All keys of a moment; never changed, only replaced as a whole."""

    by_kid: dict[str, SigningKey]
    signer: SigningKey

    @property
    def marks(self) -> frozenset[str]:
        """The marks of all keys."""
        return frozenset(one.mark for one in self.by_kid.values())

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JWK set."""
        found = (one.public() for one in self.by_kid.values())
        return {"keys": [one for one in found if one is not None]}


def load_keys(settings: AuthSettings) -> Keys:
    """Reads the keys the settings name.

    Raises:
        Invalid: there is none that signs, or one cannot be used; the text says which and never what is in it.
    """
    secrets = [_secret_key(text) for text in _secrets(settings)]
    filed = _directory(Path(settings.jwt_key_dir)) if settings.jwt_key_dir else []
    found = [*(one for one, _ in filed), *secrets]
    if not found:
        raise Invalid(
            "KONSUL_AUTH_ENABLED is on and nothing signs tokens: set KONSUL_JWT_SECRET_FILE (or "
            f"KONSUL_JWT_SECRET) to {SECRET_BYTES_MIN} bytes or more, or KONSUL_JWT_KEY_DIR"
        )
    if len(found) > KEYS_MAX:
        raise Invalid(f"there are {len(found)} keys for tokens: expected at most {KEYS_MAX}")
    by_kid: dict[str, SigningKey] = {}
    for one in found:
        by_kid.setdefault(one.kid, one)
    return Keys(by_kid, _signer(settings, filed, secrets))


def watched_files(settings: AuthSettings) -> list[tuple[str, int, int, int]]:
    """What tells that the keys' files were changed: name, inode, size and time of each."""
    names: list[Path] = [Path(settings.jwt_secret_file)] if settings.jwt_secret_file else []
    if settings.jwt_key_dir:
        names += sorted(Path(settings.jwt_key_dir).glob("*.pem"))[: KEYS_MAX + 1]
    found = []
    for name in names:
        try:
            about = name.stat()
        except OSError:
            found.append((str(name), 0, 0, 0))
            continue
        found.append((str(name), about.st_ino, about.st_size, about.st_mtime_ns))
    return found


def _signer(
    settings: AuthSettings, filed: list[tuple[SigningKey, int]], secrets: list[SigningKey]
) -> SigningKey:
    private = [(age, one) for one, age in filed if one.can_sign]
    if settings.jwt_key_id:
        for _, one in private:
            if one.kid == settings.jwt_key_id:
                return one
        raise Invalid(f"KONSUL_JWT_KEY_ID is {settings.jwt_key_id!r}: no private key of that name is there")
    if private:
        # Equally new ones by name, so that all nodes choose alike.
        return max(private, key=lambda item: (item[0], item[1].kid))[1]
    if secrets:
        return secrets[0]
    raise Invalid("KONSUL_JWT_KEY_DIR has no private key, so that nothing signs tokens")


def _secrets(settings: AuthSettings) -> Iterable[str]:
    if settings.jwt_secret:
        yield settings.jwt_secret.strip()
    if not settings.jwt_secret_file:
        return
    name = "KONSUL_JWT_SECRET_FILE"
    try:
        text = read_small(Path(settings.jwt_secret_file), name).decode()
    except UnicodeDecodeError:
        raise Invalid(f"{name}: {settings.jwt_secret_file} is not text") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise Invalid(f"{name}: {settings.jwt_secret_file} is empty")
    for number, line in enumerate(lines, 1):
        if len(line.encode()) < SECRET_BYTES_MIN:
            raise Invalid(
                f"{name}: line {number} of {settings.jwt_secret_file} has less than {SECRET_BYTES_MIN} bytes"
            )
        yield line


def _secret_key(text: str) -> SigningKey:
    secret = text.encode()
    # A name that says nothing of the secret and is the same on every node.
    mark = hmac.new(secret, b"konsul key id", hashlib.sha256).hexdigest()[:_MARK_CHARS]
    try:
        key = OctKey.import_key(secret)
    except ValueError:
        raise Invalid("KONSUL_JWT_SECRET is a public key: expected a secret") from None
    return SigningKey(f"hs-{mark}", "HS256", mark, key, OneAlgorithm("HS256"))


def _directory(folder: Path) -> list[tuple[SigningKey, int]]:
    """The keys of a directory, each with the time of its file."""
    if not folder.is_dir():
        raise Invalid(f"KONSUL_JWT_KEY_DIR: {folder} is not a directory")
    return [_file_key(path) for path in sorted(folder.glob("*.pem"))[: KEYS_MAX + 1]]


def _file_key(path: Path) -> tuple[SigningKey, int]:
    name = "KONSUL_JWT_KEY_DIR"
    content = read_small(path, name)
    kid = path.name.removesuffix(".pem")
    if not _KID.fullmatch(kid):
        raise Invalid(f"{name}: {path} has no usable name: expected letters, digits, dots, dashes")
    try:
        native: object = load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        try:
            native = load_pem_public_key(content)
        except (ValueError, UnsupportedAlgorithm):
            raise Invalid(
                f"{name}: {path} is no PEM key without a passphrase; Ed25519 and RSA keys are"
            ) from None
    can_sign = isinstance(native, Ed25519PrivateKey | RSAPrivateKey)
    key: Key
    if isinstance(native, Ed25519PrivateKey | Ed25519PublicKey):
        algorithm, key = "EdDSA", OKPKey.import_key(content)
    elif isinstance(native, RSAPrivateKey | RSAPublicKey):
        if native.key_size < _RSA_BITS_MIN:
            raise Invalid(
                f"{name}: {path} has {native.key_size} bits: expected at least {_RSA_BITS_MIN} (RFC 7518)"
            )
        algorithm, key = "RS256", RSAKey.import_key(content)
    else:
        raise Invalid(f"{name}: {path} is of another kind: expected Ed25519 or RSA")
    mark = hashlib.sha256(key.thumbprint().encode()).hexdigest()[:_MARK_CHARS]
    made = SigningKey(kid, algorithm, mark, key, OneAlgorithm(algorithm), can_sign)
    return made, path.stat().st_mtime_ns
