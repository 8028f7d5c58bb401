"""The demonstration in short, and that it notices."""

from __future__ import annotations

from pathlib import Path

import pytest

from konsul.client import Client
from loadtests import real_data
from loadtests.compare import Differences
from tests.process import Server

SECTIONS = ("admin", "libs", "contrib/utils", "net")


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    """Files with a few hundred packages and services."""
    packages = tmp_path / "packages"
    paragraphs = [
        f"Package: p{n}\nVersion: 1.{n}\nSection: {SECTIONS[n % 4]}\nDescription: grüße {'x' * n}\n more"
        for n in range(400)
    ]
    packages.write_text("\n\n".join([*paragraphs, paragraphs[0].replace("1.0", "2.0")]))
    services = tmp_path / "services"
    protocols = ("tcp", "udp", "sctp")
    services.write_text("\n".join(f"s{n // 2}\t{n + 1}/{protocols[n % 3]}\talias{n}" for n in range(150)))
    return ["--packages", str(packages), "--services", str(services), "--singles", "100"]


def test_everything_survives_the_kill(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code = real_data.main(given)
    said = capsys.readouterr()
    assert (code, said.err) == (0, "")
    assert "read 401 packages and 150 services" in said.out
    assert "everything is as it was sent: 402 keys, 150 services" in said.out
    for word in ("keys/s", "killed with SIGKILL", "resident", "on disk"):
        assert word in said.out


def test_a_limit_makes_it_shorter(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert real_data.main([*given, "--limit", "40"]) == 0
    assert "read 40 packages and 40 services" in capsys.readouterr().out


def test_a_lost_key_is_a_difference_and_an_exit_code(
    given: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Server.start

    def start_and_lose_one(server: Server) -> None:
        again = server.process is not None
        start(server)
        if again:
            with Client(f"http://127.0.0.1:{server.port}") as client:
                client.kv.delete("debian/libs/p1")

    monkeypatch.setattr(Server, "start", start_and_lose_one)
    assert real_data.main(given) == real_data.DIFFERENT
    assert "debian/libs/p1 is missing" in capsys.readouterr().err


def test_nothing_to_read_is_said_and_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert real_data.main(["--packages", str(tmp_path / "absent")]) == real_data.NOT_RUN
    assert "cannot read" in capsys.readouterr().err


def test_differences_are_named() -> None:
    found = Differences()
    found.tables("t", {"a": 1, "b": 2, "x": 9}, {"a": 1, "b": 3, "c": 4})
    assert found.report() == ["t: c is missing", "t: x was never sent", "t: b: 2 instead of 3"]
    found.tables("many", {}, {f"k{n:02}": n for n in range(30)})
    assert found.report()[-1] == "and 13 more"
