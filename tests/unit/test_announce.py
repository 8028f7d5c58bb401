"""What the start log says about who can reach the node."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from konsul.features.auth.config import AuthSettings
from konsul.kernel.config import load
from konsul.kernel.settings import GROUPS
from konsul.server.main import announce

OPEN = "open to everybody who reaches this address: requests are not authenticated"


@pytest.mark.parametrize(
    ("host", "is_open"),
    [("::", True), ("10.0.0.7", True), ("", False), ("127.0.0.2", False), ("::1", False)],
)
def test_an_open_address_is_warned_of(host: str, is_open: bool) -> None:
    with capture_logs() as said:
        announce(load(GROUPS, environ={"KONSUL_HOST": host}))
    assert (OPEN in [line["event"] for line in said if line["log_level"] == "warning"]) is is_open


@pytest.mark.parametrize(
    ("more", "is_told"),
    [
        ({}, True),
        ({"KONSUL_HOST": "127.0.0.1"}, False),
        ({"KONSUL_TLS_ENABLED": "true", "KONSUL_TLS_AUTO_CERT": "true"}, False),
    ],
)
def test_credentials_in_the_clear_are_warned_of(more: dict[str, str], is_told: bool) -> None:
    with capture_logs() as said:
        announce(load(GROUPS, environ={"KONSUL_AUTH_ENABLED": "true"} | more))
    warned = [line["event"] for line in said if line["log_level"] == "warning"]
    assert any("travel in the clear" in text for text in warned) is is_told


@pytest.mark.parametrize(
    ("environ", "warned"),
    [
        ({}, []),
        (
            {"KONSUL_TLS_KEY_FILE": "k.pem", "KONSUL_TLS_CERT_FILE": "c.pem"},
            ["no effect without KONSUL_TLS_ENABLED: KONSUL_TLS_CERT_FILE, KONSUL_TLS_KEY_FILE"],
        ),
        (
            {"KONSUL_JWT_SECRET": "s" * 40, "KONSUL_ACL_DEFAULT_POLICY": "deny"},
            [
                "no effect without KONSUL_AUTH_ENABLED: KONSUL_JWT_SECRET",
                "no effect without KONSUL_ACL_ENABLED: KONSUL_ACL_DEFAULT_POLICY",
            ],
        ),
        ({"KONSUL_TLS_ENABLED": "false", "KONSUL_TLS_CERT_FILE": "c.pem"}, []),
    ],
)
def test_a_forgotten_switch_is_warned_of(environ: dict[str, str], warned: list[str]) -> None:
    with capture_logs() as said:
        announce(load([*GROUPS, AuthSettings], environ=environ))
    assert [line["event"] for line in said if line["event"].startswith("no effect")] == warned
