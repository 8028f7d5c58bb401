"""The input of the demonstration."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest

from konsul.client import Service
from loadtests import debian

DUMP = """\
Package: nginx
Version: 1.24
Section: httpd
Description: small, powerful
 Section: not a field, but text of the description

Package: nginx
Version: 1.22
Section: httpd

Package: orphan
Version: 1

Package: exotic
Section: contrib/utils
Description: grüße
""".encode()

LINES = """\
# comment
tcpmux\t1/tcp\t\t\t# TCP port service multiplexer
domain\t53/tcp
domain\t53/udp
whois++\t63/tcp
acr-nema\t104/tcp\tdicom other
domain\t53/tcp

broken
""".splitlines()


def test_every_paragraph_has_a_key_of_its_own() -> None:
    found = debian.packages(DUMP)
    assert list(found) == [
        "debian/httpd/nginx",
        "debian/httpd/nginx@1.22",
        "debian/none/orphan",
        "debian/contrib/utils/exotic",
    ]
    assert found["debian/httpd/nginx"].startswith(b"Package: nginx\nVersion: 1.24\n")
    assert b"".join(found.values()).count(b"Package:") == 4


def test_a_limit_spreads_over_the_whole() -> None:
    dump = b"\n\n".join(b"Package: p%d\nSection: s%d" % (n, n % 7) for n in range(100))
    assert list(debian.packages(dump, 4)) == [
        "debian/s0/p0",
        "debian/s4/p25",
        "debian/s1/p50",
        "debian/s5/p75",
    ]
    assert len(debian.packages(dump, 1_000)) == 100


def test_every_line_is_an_instance() -> None:
    found = debian.services(LINES)
    assert [(one.name, one.id, one.port, one.tags[0]) for one in found] == [
        ("tcpmux", "tcpmux.tcp.1", 1, "tcp"),
        ("domain", "domain.tcp.53", 53, "tcp"),
        ("domain", "domain.udp.53", 53, "udp"),
        ("whois--", "whois--.tcp.63", 63, "tcp"),
        ("acr-nema", "acr-nema.tcp.104", 104, "tcp"),
        ("domain", "domain.tcp.53.again", 53, "tcp"),
    ]
    assert found[4] == Service(
        "acr-nema",
        "127.0.0.1",
        104,
        "acr-nema.tcp.104",
        ("tcp", "etc-services"),
        {"port": "104", "protocol": "tcp", "listed-as": "acr-nema", "aliases": "dicom other"},
    )
    assert found[3].meta["listed-as"] == "whois++"


def played(monkeypatch: pytest.MonkeyPatch, *turns: bytes | Exception, root: bool = True) -> list[list[str]]:
    """Plays the answers of the package tools; returns the commands asked."""
    asked: list[list[str]] = []
    answers = list(turns)

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        asked.append(command)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return subprocess.CompletedProcess(command, 0, answer)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    return asked


def test_empty_lists_are_updated_once_by_root(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = played(monkeypatch, b"", b"", DUMP)
    assert debian.dumpavail() == DUMP
    assert [command[0] for command in asked] == ["apt-cache", "apt-get", "apt-cache"]


@pytest.mark.parametrize(
    ("turns", "root", "advice"),
    [
        ([b""], False, "run `apt-get update` as root"),
        ([b"", b"", b""], True, "even after"),
        ([b"", subprocess.CalledProcessError(100, "apt-get")], True, "check the network"),
        ([FileNotFoundError("apt-cache")], True, "apt-cache is missing"),
        ([subprocess.TimeoutExpired("apt-cache", 1)], True, "failed"),
    ],
)
def test_without_lists_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, turns: list[bytes | Exception], root: bool, advice: str
) -> None:
    played(monkeypatch, *turns, root=root)
    with pytest.raises(debian.NoInput, match=advice):
        debian.dumpavail()
