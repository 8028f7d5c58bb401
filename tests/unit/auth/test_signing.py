"""Signing keys: one algorithm each, rotation without a gap, nothing secret in the JWK set or in words."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from konsul.errors import Invalid, Unauthenticated
from konsul.features.auth.config import AuthSettings
from konsul.features.auth.signing import Keys, load_keys, watched_files
from konsul.features.auth.tokens import Tokens
from tests.unit.auth.test_tokens import WHO, encoded

OLD, NEW = "the old secret, which is long enough", "the new secret, which is long enough"


def private(path: Path, key: Any, *, age_s: int = 0) -> Path:
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    _aged(path, age_s)
    return path


def public(path: Path, key: Any) -> Path:
    told = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path.write_bytes(told)
    return path


def _aged(path: Path, age_s: int) -> None:
    os.utime(path, (1_700_000_000 - age_s, 1_700_000_000 - age_s))


def tokens(keys: Keys) -> Tokens:
    return Tokens(AuthSettings(jwt_secret=OLD), lambda: keys)


def of_secrets(path: Path, *lines: str) -> Keys:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load_keys(AuthSettings(jwt_secret_file=str(path)))


def refusal(**settings: Any) -> str:
    with pytest.raises(Invalid) as raised:
        load_keys(AuthSettings(**settings))
    return str(raised.value)


def test_secrets_rotate_line_by_line(tmp_path: Path) -> None:
    before = of_secrets(tmp_path / "s", OLD)
    both = of_secrets(tmp_path / "s", NEW, OLD)
    after = of_secrets(tmp_path / "s", NEW)
    old, new = tokens(before).issue("access", **WHO), tokens(both).issue("access", **WHO)
    assert tokens(both).read(old, "access").user_id == "alice", "the second line verifies"
    assert tokens(after).read(new, "access").user_id == "alice", "the first line signed"
    with pytest.raises(Unauthenticated, match="invalid token"):
        tokens(after).read(old, "access")


def test_all_nodes_name_a_secret_alike_and_the_name_says_nothing_of_it(tmp_path: Path) -> None:
    one, other = of_secrets(tmp_path / "a", OLD), load_keys(AuthSettings(jwt_secret=OLD))
    assert one.signer.kid == other.signer.kid
    assert one.signer.kid != of_secrets(tmp_path / "b", NEW).signer.kid


def test_secrets_are_in_no_words_and_no_key_set(tmp_path: Path) -> None:
    settings = AuthSettings(jwt_secret=OLD)
    keys = load_keys(settings)
    assert keys.jwks() == {"keys": []}
    assert OLD not in repr(settings) + repr(keys) + repr(keys.signer)
    (tmp_path / "short").write_text(f"{OLD}\nshort\n", encoding="utf-8")
    told = refusal(jwt_secret_file=str(tmp_path / "short"))
    assert told.endswith("short has less than 32 bytes")
    assert "line 2" in told
    assert OLD not in told


def test_nothing_that_signs_stops_the_start() -> None:
    assert "KONSUL_JWT_SECRET_FILE" in refusal()


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff" * 40, b"x" * 70_000])
def test_a_file_without_a_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s").write_bytes(content)
    assert "KONSUL_JWT_SECRET_FILE" in refusal(jwt_secret_file=str(tmp_path / "s"))
    assert "cannot be read" in refusal(jwt_secret_file=str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [("EdDSA", ed25519.Ed25519PrivateKey.generate()), ("RS256", rsa.generate_private_key(65_537, 2_048))],
)
def test_a_private_key_signs_and_its_public_half_verifies(tmp_path: Path, algorithm: str, key: Any) -> None:
    private(tmp_path / "k1.pem", key)
    signing = load_keys(AuthSettings(jwt_key_dir=str(tmp_path)))
    assert (signing.signer.kid, signing.signer.algorithm) == ("k1", algorithm)
    issued = tokens(signing).issue("access", **WHO)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    public(elsewhere / "k1.pem", key)
    private(elsewhere / "k2.pem", ed25519.Ed25519PrivateKey.generate())
    verifying = load_keys(AuthSettings(jwt_key_dir=str(elsewhere)))
    assert verifying.signer.kid == "k2"
    assert tokens(verifying).read(issued, "access").user_id == "alice"


def test_the_key_set_holds_public_halves_only(tmp_path: Path) -> None:
    private(tmp_path / "ed.pem", ed25519.Ed25519PrivateKey.generate())
    private(tmp_path / "rsa.pem", rsa.generate_private_key(65_537, 2_048))
    keys = load_keys(AuthSettings(jwt_key_dir=str(tmp_path), jwt_secret=OLD)).jwks()["keys"]
    assert [(key["kid"], key["alg"], key["use"]) for key in keys] == [
        ("ed", "EdDSA", "sig"),
        ("rsa", "RS256", "sig"),
    ]
    assert [set(key) - {"kid", "alg", "use", "kty"} for key in keys] == [{"crv", "x"}, {"n", "e"}]


def test_the_newest_private_key_signs_unless_one_is_named(tmp_path: Path) -> None:
    private(tmp_path / "old.pem", ed25519.Ed25519PrivateKey.generate(), age_s=100)
    private(tmp_path / "new.pem", ed25519.Ed25519PrivateKey.generate())
    public(tmp_path / "pub.pem", ed25519.Ed25519PrivateKey.generate())
    folder = str(tmp_path)
    assert load_keys(AuthSettings(jwt_key_dir=folder)).signer.kid == "new"
    assert load_keys(AuthSettings(jwt_key_dir=folder, jwt_key_id="old")).signer.kid == "old"
    for no_signer in ("pub", "none"):
        assert "KONSUL_JWT_KEY_ID" in refusal(jwt_key_dir=folder, jwt_key_id=no_signer)


def test_a_directory_signs_before_a_secret_which_still_verifies(tmp_path: Path) -> None:
    old = tokens(load_keys(AuthSettings(jwt_secret=OLD))).issue("access", **WHO)
    private(tmp_path / "k1.pem", ed25519.Ed25519PrivateKey.generate())
    both = load_keys(AuthSettings(jwt_secret=OLD, jwt_key_dir=str(tmp_path)))
    assert both.signer.kid == "k1"
    assert tokens(both).read(old, "access").user_id == "alice"


def test_another_key_under_the_same_name_has_another_mark(tmp_path: Path) -> None:
    private(tmp_path / "k1.pem", ed25519.Ed25519PrivateKey.generate())
    one = load_keys(AuthSettings(jwt_key_dir=str(tmp_path)))
    private(tmp_path / "k1.pem", ed25519.Ed25519PrivateKey.generate())
    other = load_keys(AuthSettings(jwt_key_dir=str(tmp_path)))
    assert one.marks.isdisjoint(other.marks)
    assert one != other


def test_the_algorithm_of_a_public_key_cannot_be_confused(tmp_path: Path) -> None:
    """CVE-2015-9256 and its kin: the public key's text as an HMAC secret."""
    key = rsa.generate_private_key(65_537, 2_048)
    private(tmp_path / "k1.pem", key)
    keys = load_keys(AuthSettings(jwt_key_dir=str(tmp_path)))
    body = tokens(keys).issue("access", **WHO).split(".")[1]
    known = public(tmp_path / "known", key).read_bytes()
    for secret in (known, known.strip(), key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)):
        forged = f"{encoded({'alg': 'HS256', 'typ': 'JWT', 'kid': 'k1'})}.{body}"
        signature = hmac.new(secret, forged.encode(), hashlib.sha256).digest()
        text = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
        with pytest.raises(Unauthenticated, match="invalid token"):
            tokens(keys).read(f"{forged}.{text}", "access")


def test_a_public_key_is_no_secret(tmp_path: Path) -> None:
    text = public(tmp_path / "known", ed25519.Ed25519PrivateKey.generate()).read_text(encoding="utf-8")
    assert "public key" in refusal(jwt_secret=text)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ed448.Ed448PrivateKey.generate(),
        rsa.generate_private_key(65_537, 1_024),  # noqa: S505 - what has to be refused
    ],
)
def test_keys_of_other_kinds_are_refused_in_words(tmp_path: Path, key: Any) -> None:
    private(tmp_path / "k1.pem", key)
    assert "KONSUL_JWT_KEY_DIR" in refusal(jwt_key_dir=str(tmp_path))


def test_unusable_directories_are_refused_in_words(tmp_path: Path) -> None:
    assert "not a directory" in refusal(jwt_key_dir=str(tmp_path / "none"))
    assert "nothing signs" in refusal(jwt_key_dir=str(tmp_path))
    public(tmp_path / "pub.pem", ed25519.Ed25519PrivateKey.generate())
    assert "no private key" in refusal(jwt_key_dir=str(tmp_path))
    locked = ed25519.Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"phrase")
    )
    (tmp_path / "locked.pem").write_bytes(locked)
    assert "passphrase" in refusal(jwt_key_dir=str(tmp_path))


def test_changed_files_are_noticed(tmp_path: Path) -> None:
    settings = AuthSettings(jwt_key_dir=str(tmp_path), jwt_secret_file=str(tmp_path / "s"))
    private(tmp_path / "k1.pem", ed25519.Ed25519PrivateKey.generate())
    seen = watched_files(settings)
    (tmp_path / "s").write_text(OLD, encoding="utf-8")
    with_secret = watched_files(settings)
    assert with_secret != seen
    private(tmp_path / "k2.pem", ed25519.Ed25519PrivateKey.generate())
    assert watched_files(settings) != with_secret
