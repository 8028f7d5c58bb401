"""Certificates that are renewed, run out, or cannot be used; and the server's own."""

from __future__ import annotations

import datetime
import signal
import socket
import ssl
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from tests.conftest import SMALL, LiveServer
from tests.doors.tls_files import Files, der, expired, short
from tests.process import Server
from tests.waiting import until

DEADLINE_S = 20.0
REFUSED = "konsul_tls_certificates_refused_total"
AUTO = {**SMALL, "KONSUL_TLS_ENABLED": "true", "KONSUL_TLS_AUTO_CERT": "true"}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    folder = tmp_path / "certificates"
    folder.mkdir()
    return Files.make(folder)


@contextmanager
def connected(server: Server, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(("127.0.0.1", server.port), DEADLINE_S) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        yield secured


def shown(server: Server, context: ssl.SSLContext) -> bytes | None:
    with connected(server, context) as secured:
        return secured.getpeercert(binary_form=True)


def value(server: LiveServer, name: str) -> float:
    with httpx.Client(base_url=server.base_url, verify=server.context or True, trust_env=False) as client:
        page = client.get("/metrics").text
    (line,) = [line for line in page.splitlines() if line.startswith(f"{name} ")]
    return float(line.rpartition(" ")[2])


def more(server: LiveServer, than: float) -> bool:
    return value(server, REFUSED) > than


def hang_up(server: LiveServer) -> None:
    assert server.process is not None
    server.process.send_signal(signal.SIGHUP)


def alive(secured: ssl.SSLSocket) -> bool:
    secured.sendall(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n")
    return b" 200 OK" in secured.recv(65_536)


@pytest.mark.parametrize("by_signal", [True, False], ids=["by SIGHUP", "by itself"])
def test_a_renewed_certificate_is_taken_and_nobody_is_dropped(
    files: Files, fresh_dir: Path, by_signal: bool
) -> None:
    first = der(files.folder / "server.pem")
    with files.server(fresh_dir) as server:
        assert server.context is not None
        with connected(server, server.context) as stays:
            assert alive(stays)
            assert shown(server, server.context) == first
            second = files.renew("server")
            if by_signal:
                hang_up(server)
            until(lambda: shown(server, files.context()) == second, "the new certificate")
            assert alive(stays)
        assert value(server, "konsul_tls_certificates_renewed_total") == 1
        left_s = value(server, "konsul_tls_certificate_expiry_seconds")
        assert 360 * 86_400 < left_s <= 365 * 86_400


def test_what_cannot_be_used_changes_nothing(files: Files, fresh_dir: Path) -> None:
    good = der(files.folder / "server.pem")
    with files.server(fresh_dir) as server:
        files.issue("other", 1)
        key = files.folder / "server-key.pem"
        for wrong in ((files.folder / "other-key.pem").read_bytes(), b"nothing", b""):
            refused = value(server, REFUSED)
            key.write_bytes(wrong)
            hang_up(server)
            until(partial(more, server, refused), "the refusal")
            assert shown(server, files.context()) == good
        assert "the key does not belong to the certificate" in server.output()
        assert "PRIVATE KEY" not in server.output()
        renewed = files.renew("server", 5)
        hang_up(server)
        until(lambda: shown(server, files.context()) == renewed, "the good certificate")
        until(lambda: "the certificate expires soon" in server.output(), "the warning")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"KONSUL_TLS_CERT_FILE": "/nowhere.pem"}, "KONSUL_TLS_CERT_FILE /nowhere.pem cannot be read"),
        ({"KONSUL_TLS_KEY_FILE": "{folder}/other-key.pem"}, "the key does not belong to the certificate"),
        ({"KONSUL_TLS_KEY_FILE": "{folder}/server.pem"}, "the key file holds no private key"),
        ({"KONSUL_TLS_CERT_FILE": "{folder}/server-key.pem"}, "the certificate file holds no certificate"),
        (
            {"KONSUL_TLS_CERT_FILE": "{folder}/old.pem", "KONSUL_TLS_KEY_FILE": "{folder}/old-key.pem"},
            "expired on",
        ),
        (
            {"KONSUL_TLS_CLIENT_AUTH": "required", "KONSUL_TLS_CLIENT_CA_FILE": "/nowhere.pem"},
            "KONSUL_TLS_CLIENT_CA_FILE /nowhere.pem cannot be read",
        ),
        (
            {"KONSUL_TLS_CIPHERS": "TLS_RSA_WITH_RC4_128_MD5"},
            "is no cipher suite of this server: it has TLS_",
        ),
        ({"KONSUL_TLS_CLIENT_AUTH": "required"}, "expected a KONSUL_TLS_CLIENT_CA_FILE"),
        ({"KONSUL_TLS_CLIENT_IDENTITY": "user"}, "nobody would be asked for a certificate"),
        ({"KONSUL_TLS_KEY_FILE": ""}, "KONSUL_TLS_KEY_FILE is empty"),
        ({"KONSUL_TLS_MIN_VERSION": "1.1"}, "KONSUL_TLS_MIN_VERSION is '1.1'"),
        ({"KONSUL_TLS_ENABLED": "false", "KONSUL_TLS_AUTO_CERT": "true"}, "but nothing is encrypted"),
    ],
)
def test_a_start_that_would_not_protect_is_refused(
    files: Files, fresh_dir: Path, changed: dict[str, str], why: str
) -> None:
    files.issue("other", 1)
    expired(files.folder)
    settings = {name: text.format(folder=files.folder) for name, text in changed.items()}
    server = files.server(fresh_dir, files.settings(**settings))
    assert server.refused() == 1
    assert why in server.output()
    assert "Traceback" not in server.output()
    assert not fresh_dir.exists()


def test_the_server_makes_a_certificate_of_its_own(fresh_dir: Path) -> None:
    cert, key = fresh_dir / "tls" / "server.crt", fresh_dir / "tls" / "server.key"
    server = LiveServer(fresh_dir, AUTO)
    server.context = ssl._create_unverified_context()  # noqa: S323 - nobody can know it before it is there
    with server:
        trusting = ssl.create_default_context(cafile=cert)
        assert shown(server, trusting) == der(cert)
        assert "SIGNED BY THIS SERVER ITSELF" in server.output()
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert stat.S_IMODE(cert.parent.stat().st_mode) == stat.S_IMODE(fresh_dir.stat().st_mode) == 0o700
        made = x509.load_pem_x509_certificate(cert.read_bytes())
        names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert {"localhost", socket.gethostname()} <= set(names.get_values_for_type(x509.DNSName))
        addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
        assert {"127.0.0.1", "::1"} <= addresses
        server.restart()
        assert shown(server, trusting) == der(cert)
        # Near its end it makes way.
        server.kill()
        near, its_key = short(cert.parent, "near", datetime.timedelta(days=20))
        near.replace(cert)
        its_key.replace(key)
        old = der(cert)
        server.start()
        assert shown(server, ssl.create_default_context(cafile=cert)) == der(cert) != old
