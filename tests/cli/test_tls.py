"""konsulctl tls: files that servers and openssl can use, and that nothing overwrites."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.cli.console import Console


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    place = tmp_path / "certs"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def openssl(*args: str) -> str:
    program = shutil.which("openssl")
    assert program, "the tests need openssl"
    return subprocess.run([program, *args], check=True, capture_output=True, text=True).stdout


def test_an_authority_and_a_certificate_with_all_its_names(console: Console, folder: Path) -> None:
    made = console.ok("tls", "ca", "create")
    assert made.text.startswith("Successfully created authority: konsul-ca.pem and konsul-ca-key.pem")
    console.ok(
        "tls", "cert", "create", "n1", "--san", "db-1.example.org", "--san", "10.0.0.7", "--san", "::1"
    )
    for key in ("konsul-ca-key.pem", "n1-key.pem"):
        assert (folder / key).stat().st_mode & 0o777 == 0o600
    cert = read(folder / "n1.pem")
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["server.konsul", "n1", "db-1.example.org"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.7", "::1"]
    usages = cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    public = cert.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert public.curve.name == "secp256r1"
    cert.verify_directly_issued_by(read(folder / "konsul-ca.pem"))


def test_openssl_takes_them_for_both_sides_of_a_connection(console: Console, folder: Path) -> None:
    console.ok("tls", "ca", "create")
    console.ok("tls", "cert", "create", "n1")
    for purpose in ("sslserver", "sslclient"):
        said = openssl(
            "verify", "-x509_strict", "-purpose", purpose, "-verify_hostname", "server.konsul",
            "-CAfile", "konsul-ca.pem", "n1.pem",
        )  # fmt: skip
        assert said == "n1.pem: OK\n"
    key = openssl("pkey", "-in", "n1-key.pem", "-pubout")
    assert key == openssl("x509", "-in", "n1.pem", "-noout", "-pubkey")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("n1.pem", "n1-key.pem")
    context.load_verify_locations("konsul-ca.pem")


def test_days_are_kept_and_end_with_the_authority(console: Console, folder: Path) -> None:
    console.ok("tls", "ca", "create", "--days", "30")
    console.ok("tls", "cert", "create", "n1", "--days", "7")
    console.ok("tls", "cert", "create", "n2", "--days", "3650")
    now = datetime.now(UTC)
    assert abs(read(folder / "n1.pem").not_valid_after_utc - now - timedelta(days=7)) < timedelta(minutes=10)
    assert read(folder / "n1.pem").not_valid_before_utc < now
    end = read(folder / "konsul-ca.pem").not_valid_after_utc
    assert read(folder / "n2.pem").not_valid_after_utc == end


def test_nothing_is_overwritten(console: Console, folder: Path) -> None:
    console.ok("tls", "ca", "create", "--dir", "new/place")
    files = {path: path.read_bytes() for path in (folder / "new" / "place").iterdir()}
    said = console("tls", "ca", "create", "--dir", "new/place")
    assert said.code == 4
    assert "konsul-ca-key.pem exists; it is not overwritten" in said.errors
    assert {path: path.read_bytes() for path in files} == files
    (folder / "n1.pem").write_text("mine")
    authority = ("--ca", "new/place/konsul-ca.pem", "--ca-key", "new/place/konsul-ca-key.pem")
    said = console("tls", "cert", "create", "n1", *authority)
    assert said.code == 4
    assert (folder / "n1.pem").read_text() == "mine"
    assert not (folder / "n1-key.pem").exists(), "half a pair is worse than none"


def test_show_says_what_a_certificate_is_good_for(console: Console, folder: Path) -> None:
    console.ok("tls", "ca", "create", "--name", "Ours")
    console.ok("tls", "cert", "create", "n1", "--san", "10.0.0.7", "--days", "10")
    shown = console.ok("tls", "show", "n1.pem", "--output", "json").json()
    assert shown["role"] == "server"
    assert shown["names"] == ["server.konsul", "n1", "10.0.0.7"]
    assert shown["issuer"] == "CN=Ours,O=Konsul"
    assert shown["days_left"] == 9
    assert shown["valid"] is True
    fingerprint = (
        openssl("x509", "-in", "n1.pem", "-noout", "-fingerprint", "-sha256").strip().partition("=")[2]
    )
    assert shown["sha256"] == fingerprint.lower()
    text = console.ok("tls", "show", "konsul-ca.pem").text
    assert "role:        authority\n" in text
    assert "valid:       yes\n" in text


def test_a_certificate_that_has_expired_is_shown_and_fails(
    console: Console, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "konsul.cli.certificates._end", lambda _days: datetime.now(UTC) - timedelta(minutes=1)
    )
    console.ok("tls", "ca", "create")
    said = console("tls", "show", "konsul-ca.pem")
    assert said.code == 1
    assert "valid:       no" in said.text
    said = console("tls", "cert", "create", "n1")
    assert "konsul-ca.pem has expired" in said.errors


@pytest.mark.parametrize(
    ("args", "cause"),
    [
        (["ca", "create", "--days", "0", "--dir", "x"], "--days must be 1 to 36500"),
        (["ca", "create", "--name", "a\tb", "--dir", "x"], "--name must have"),
        (["cert", "create", "-x"], "No such option"),
        (["cert", "create", "a b"], "'a b' is not a node's name"),
        (["cert", "create", "n1", "--san", "no host"], "'no host' is neither a host name nor an IP address"),
        (["cert", "create", "n1", "--ca", "absent.pem"], "cannot read absent.pem"),
        (["cert", "create", "n1", "--ca-key", "konsul-ca.pem"], "konsul-ca.pem holds no private key"),
        (["cert", "create", "n1", "--ca-key", "other/konsul-ca-key.pem"], "is not the key of konsul-ca.pem"),
        (["cert", "create", "n1", "--ca", "n0.pem"], "n0.pem is not an authority's certificate"),
        (["show", "konsul-ca-key.pem"], "konsul-ca-key.pem holds no certificate"),
        (["ca", "create", "--dir", "n0.pem/below"], "cannot make n0.pem/below"),
    ],
)
def test_refusals(console: Console, folder: Path, args: list[str], cause: str) -> None:
    console.ok("tls", "ca", "create")
    console.ok("tls", "ca", "create", "--dir", "other")
    console.ok("tls", "cert", "create", "n0")
    before = sorted(folder.rglob("*"))
    said = console("tls", *args)
    assert said.code == 2
    assert cause in said.errors
    assert sorted(folder.rglob("*")) == before
    assert "PRIVATE" not in said.errors + said.text


def test_a_users_certificate_is_no_servers(console: Console, folder: Path) -> None:
    console.ok("tls", "ca", "create")
    made = console.ok("tls", "client", "create", "alice@example.org")
    assert made.text.startswith(
        "Successfully created certificate: alice@example.org.pem and alice@example.org-key.pem"
    )
    found = read(folder / "alice@example.org.pem")
    (name,) = found.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    assert name.value == "alice@example.org"
    (usage,) = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert usage == ExtendedKeyUsageOID.CLIENT_AUTH
    with pytest.raises(x509.ExtensionNotFound):
        found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert openssl("verify", "-CAfile", "konsul-ca.pem", "alice@example.org.pem").endswith("OK\n")
    for wrong in ("-alice", "a/b", "", "x" * 65):
        refused = console("tls", "client", "create", "--", wrong)
        assert (refused.code, "user's id" in refused.errors) == (2, True), refused
    assert console("tls", "client", "create", "alice@example.org").code != 0
