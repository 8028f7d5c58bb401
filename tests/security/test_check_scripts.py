"""Script checks run programs on the servers: only those that the operator put in one directory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from konsul.features.catalog.status import OUTPUT_MAX_BYTES
from konsul.features.checks.outcome import Outcome
from tests.ask import ask
from tests.checks.targets import definition, executors
from tests.security.guarded import Guarded, Login
from tests.waiting import until

WEB = {"address": "127.0.0.1", "port": 80}
SCRIPTED = WEB | {"name": "open-job", "checks": [{"id": "s", "script": ["ask"]}]}


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "programs"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A guarded server that runs scripts."""
    folder = tmp_path_factory.mktemp("scripted")
    (folder / "programs").mkdir()
    program(folder / "programs", "ask", "exit 0")
    settings = {
        "KONSUL_CHECK_SCRIPTS_ENABLED": "true",
        "KONSUL_CHECK_SCRIPT_DIR": str(folder / "programs"),
    }
    with Guarded(folder / "server", settings) as server:
        server.furnish()
        yield server


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
    path.chmod(0o755)
    return path


def run(folder: Path, *script: str, timeout: str = "10s") -> Outcome:
    async def once() -> Outcome:
        async with executors(scripts_enabled=True, script_dir=str(folder)) as made:
            return await made.run(definition("script", script=list(script), timeout=timeout))

    return asyncio.run(once())


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "/bin/sh",
        "sub/inner",
        "..",
        ".",
        "",
        "programs/../../outside",
        "./ask",
        "ask\0",
        "a" * 300,
    ],
)
def test_a_path_is_no_program(programs: Path, name: str) -> None:
    marker = programs.parent / "ran"
    program(programs.parent, "outside", f"touch {marker}")
    (programs / "sub").mkdir()
    program(programs / "sub", "inner", f"touch {marker}")
    found = run(programs, name)
    assert found.status == "critical"
    assert not marker.exists()


def test_a_link_out_of_the_directory_is_not_followed(programs: Path) -> None:
    marker = programs.parent / "ran"
    outside = program(programs.parent, "outside", f"touch {marker}")
    (programs / "link").symlink_to(outside)
    (programs / "inner").symlink_to(program(programs, "ask", f"touch {marker}"))
    for name in ("link", "inner"):
        found = run(programs, name)
        assert found.status == "critical"
        assert "no regular file" in found.output
    assert not marker.exists()


def test_a_program_that_everybody_may_write_is_not_run(programs: Path) -> None:
    path = program(programs, "ask", "exit 0")
    path.chmod(0o777)
    assert "written by everybody" in run(programs, "ask").output
    path.chmod(0o755)
    programs.chmod(0o777)
    assert "written by everybody" in run(programs, "ask").output
    programs.chmod(0o755)
    assert run(programs, "ask").status == "passing"


def test_arguments_are_words_whatever_they_hold(programs: Path) -> None:
    marker = programs / "ran"
    program(programs, "say", 'printf "%s|" "$@"')
    words = [
        f"$(touch {marker})",
        f"`touch {marker}`",
        f"; touch {marker}",
        "a b",
        "*",
        "&& reboot",
        "|",
        "> x",
    ]
    found = run(programs, "say", *words)
    assert found.output == "".join(f"{word}|" for word in words)
    assert not marker.exists()
    assert sorted(path.name for path in programs.iterdir()) == ["say"]


def test_what_a_flood_writes_is_not_kept_and_ends_it(programs: Path) -> None:
    program(programs, "flood", "exec yes 0123456789")
    found = run(programs, "flood")
    assert found.status == "critical"
    assert "wrote more than" in found.output
    assert len(found.output.encode()) <= OUTPUT_MAX_BYTES


def test_a_long_output_is_cut(programs: Path) -> None:
    program(programs, "long", "head -c 100000 /dev/zero | tr '\\0' x")
    found = run(programs, "long")
    assert found.status == "passing"
    assert len(found.output.encode()) <= OUTPUT_MAX_BYTES


def test_an_output_cannot_take_a_terminal_over(programs: Path) -> None:
    program(programs, "paint", "printf '\\033[2Jgone\\007'")
    assert run(programs, "paint").output == "?[2Jgone?"


def test_children_do_not_outlive_the_timeout(programs: Path) -> None:
    pids = programs.parent / "pids"
    program(programs, "fork", f"sleep 600 & echo $! >> {pids}; (sleep 600 & echo $! >> {pids}; wait) & wait")
    found = run(programs, "fork", timeout="500ms")
    assert found.output.endswith(": timeout")
    until(lambda: pids.exists() and len(pids.read_text().split()) == 2, "both children")
    until(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()), "the children to end")


def test_children_do_not_outlive_a_program_that_ended(programs: Path) -> None:
    """Nor does one that keeps the output open make the check wait."""
    pids = programs.parent / "pids"
    program(programs, "leave", f"sleep 600 & echo $! > {pids}; echo done")
    found = run(programs, "leave", timeout="60s")
    assert (found.status, found.output) == ("passing", "done")
    until(lambda: not alive(int(pids.read_text())), "the child to end")


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_who_may_register_a_service_may_not_choose_a_program(guarded: Guarded, attacker: Login) -> None:
    direct = {"service": "open-plain", "id": "direct", "script": ["ask"]}
    plain = WEB | {"name": "open-plain", "checks": [{"id": "t", "ttl": "1h"}]}
    assert ask(guarded.port, "PUT", "/register", plain, headers=attacker.headers).status == 200
    tries = [
        ("PUT", "/register", SCRIPTED),
        ("POST", "/register", SCRIPTED),
        ("POST", "/health/check", direct),
        ("PUT", "/health/check/t/definition", {"script": ["ask"]}),
        ("POST", "/batch/services/register", {"services": [SCRIPTED]}),
    ]
    for method, path, body in tries:
        answer = ask(guarded.port, method, path, body, headers=attacker.headers)
        assert answer.status == 403, (method, path, answer.body)
    assert ask(guarded.port, "GET", "/health/service/open-job", headers=guarded.admin).json() == []


def test_an_administrator_may_and_it_runs(guarded: Guarded) -> None:
    def status() -> object:
        return ask(guarded.port, "GET", "/health/check/s", headers=guarded.admin).json()["status"]

    assert ask(guarded.port, "PUT", "/register", SCRIPTED, headers=guarded.admin).status == 200
    until(lambda: status() == "passing", "the program to be run")
