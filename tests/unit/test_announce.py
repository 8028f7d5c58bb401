"""What the start log says about who can reach the node."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

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
