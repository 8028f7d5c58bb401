"""An authority with certificates for a server and its clients, and a server that shows them."""

from __future__ import annotations

import datetime
import ssl
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from konsul.cli import certificates
from tests.conftest import SMALL, LiveServer

DAYS = 365


@dataclass(frozen=True)
class Files:
    """A folder with an authority, a server's certificate `server.pem`, and what is made besides."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Files:
        certificates.create_authority(folder, "tests", DAYS)
        files = cls(folder)
        files.issue("server", DAYS)
        return files

    @property
    def ca(self) -> str:
        return str(self.folder / "konsul-ca.pem")

    def issue(self, name: str, days: int) -> certificates.Pair:
        return certificates.create_certificate(
            self.folder, name, ["localhost", "127.0.0.1"], days, *self._signs()
        )

    def client(self, user: str) -> certificates.Pair:
        return certificates.create_client(self.folder, user, DAYS, *self._signs())

    def renew(self, name: str, days: int = DAYS) -> bytes:
        """Another certificate and key in place of those; returns it, DER."""
        for file in (f"{name}.pem", f"{name}-key.pem"):
            (self.folder / file).unlink()
        return der(self.issue(name, days).cert)

    def settings(self, **more: str) -> dict[str, str]:
        own = {
            "KONSUL_TLS_ENABLED": "true",
            "KONSUL_TLS_CERT_FILE": str(self.folder / "server.pem"),
            "KONSUL_TLS_KEY_FILE": str(self.folder / "server-key.pem"),
        }
        return {**SMALL, **own, **more}

    def server(self, data_dir: Path, settings: Mapping[str, str] | None = None) -> LiveServer:
        """One that is not started yet, whose tests know how to speak to it."""
        server = LiveServer(data_dir, settings or self.settings())
        server.context = self.context()
        return server

    def context(self, client: certificates.Pair | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca)
        if client is not None:
            context.load_cert_chain(client.cert, client.key)
        return context

    def _signs(self) -> tuple[Path, Path]:
        return self.folder / "konsul-ca.pem", self.folder / "konsul-ca-key.pem"


def der(path: Path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(serialization.Encoding.DER)


def expired(folder: Path, name: str = "old") -> tuple[Path, Path]:
    """A certificate of yesterday, signed by itself, and its key."""
    return short(folder, name, datetime.timedelta(days=-1))


def short(folder: Path, name: str, left: datetime.timedelta) -> tuple[Path, Path]:
    """A certificate with so much time left, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    end = datetime.datetime.now(datetime.UTC) + left
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(end - datetime.timedelta(days=DAYS))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / f"{name}.pem", folder / f"{name}-key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return cert_file, key_file


def curl(*args: str, ca: str) -> str:
    """What curl prints; the version of HTTP and the status are its last line."""
    command = ["curl", "--silent", "--show-error", "--max-time", "20", "--cacert", ca]
    command += ["--write-out", "\n%{http_version} %{http_code}", *args]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout
