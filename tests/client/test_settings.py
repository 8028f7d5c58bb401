"""Addresses, credentials and TLS files."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from konsul.client import Client, Settings
from konsul.client.wire import options
from konsul.errors import Invalid, Unreachable
from tests.client.played import Played, ok
from tests.process import free_port

SECRETS = {"token": "t-secret", "api_key": "k-secret"}


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://localhost:8888/", "http://localhost:8888"),
        ("localhost:8888", "http://localhost:8888"),
        ("https://konsul.test/prefix/", "https://konsul.test/prefix"),
    ],
)
def test_addresses_are_completed(given: str, used: str) -> None:
    assert Settings(given).address == used


@pytest.mark.parametrize("given", ["", "ftp://a", "http://", "unix:///x", "http://[bad"])
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(Invalid, match="address"):
        Settings(given)


def test_half_a_client_certificate_is_refused() -> None:
    with pytest.raises(Invalid, match="together"):
        Settings(client_cert="c.pem")


def test_credentials_are_sent_and_never_shown() -> None:
    played = Played(ok({"key": "a", "value": "1"}))
    with played.client(**SECRETS) as client:
        client.kv.get("a")
        shown = repr(client.settings)
    assert played.seen[0].headers["Authorization"] == "Bearer t-secret"
    assert played.seen[0].headers["X-API-Key"] == "k-secret"
    assert "secret" not in shown


def test_a_prefix_in_the_address_stays_in_front() -> None:
    played = Played(ok({"key": "a", "value": "1"}))
    with played.client(address="http://gate.test/konsul") as client:
        client.kv.get("a/b")
    assert played.seen[0].url.path == "/konsul/kv/a/b"


def test_plain_http_makes_no_tls_context() -> None:
    assert options(Settings())["verify"] is False


def test_tls_verifies_unless_told_otherwise() -> None:
    strict = options(Settings("https://a"))["verify"]
    assert (strict.verify_mode, strict.check_hostname) == (ssl.CERT_REQUIRED, True)
    lax = options(Settings("https://a", tls_verify=False))["verify"]
    assert (lax.verify_mode, lax.check_hostname) == (ssl.CERT_NONE, False)


def test_certificate_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    absent = str(tmp_path / "ca.pem")
    with pytest.raises(Invalid, match=r"ca\.pem"):
        Client(Settings("https://a", ca_cert=absent))
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    with pytest.raises(Invalid, match=r"broken\.pem"):
        Client(Settings("https://a", client_cert=str(broken), client_key=str(broken)))


def test_nobody_listens() -> None:
    with (
        Client(f"http://127.0.0.1:{free_port()}") as client,
        pytest.raises(Unreachable, match="cannot connect"),
    ):
        client.live()
