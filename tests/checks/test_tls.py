"""Checks over TLS: who is believed, and who not."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from konsul.features.checks.outcome import Outcome
from tests.checks.targets import Web, definition, executors, listening
from tests.cluster.harness.certificates import authority, settings_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1, `target.pem`, and in `ca` who signed it."""
    made = tmp_path_factory.mktemp("tls")
    settings_of("target", made, authority(made / "ca"))
    return made


def run(folder: Path, ca: str = "", **members: Any) -> Outcome:
    async def once() -> Outcome:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / "target.pem", folder / "target-key.pem")
        async with listening(Web(), context) as web, executors(tls_ca_file=ca) as made:
            check = definition("http", http=f"https://127.0.0.1:{web.port}/", timeout="5s", **members)
            first = await made.run(check)
            # The second goes over the kept connection, if there is one: it is as sure of its peer.
            assert (await made.run(check)).status == first.status
            return first

    return asyncio.run(once())


def test_a_certificate_of_the_named_authority_is_believed(folder: Path) -> None:
    assert run(folder, str(folder / "ca" / "konsul-ca.pem")).status == "passing"


def test_one_of_nobody_is_not_unless_the_check_says_so(folder: Path) -> None:
    found = run(folder)
    assert found.status == "critical"
    assert "certificate" in found.output.lower()
    assert run(folder, tls_skip_verify=True).status == "passing"


def test_it_has_to_name_whom_the_check_expects(folder: Path) -> None:
    found = run(folder, str(folder / "ca" / "konsul-ca.pem"), tls_server_name="shop.example")
    assert found.status == "critical"


def test_an_authority_that_cannot_be_read_is_said(folder: Path) -> None:
    found = run(folder, str(folder / "missing.pem"))
    assert found.status == "critical"
    assert "No such file" in found.output
