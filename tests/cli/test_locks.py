"""`konsulctl session`, `lock` and `semaphore` through a real server."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from konsul.client import Client
from tests.cli.console import Console
from tests.conftest import SMALL, LiveServer
from tests.waiting import until

KONSULCTL = (sys.executable, "-m", "konsul.cli.main")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server that lets sessions be short."""
    settings = SMALL | {"KONSUL_SESSION_TTL_MIN": "100ms"}
    with LiveServer(tmp_path_factory.mktemp("locks") / "data", settings) as running:
        yield running


@pytest.fixture
def client(server: LiveServer) -> Iterator[Client]:
    with Client(server.base_url) as made:
        yield made


class Running:
    """A konsulctl of its own process."""

    def __init__(self, server: LiveServer, *args: str) -> None:
        self._process = subprocess.Popen(
            [*KONSULCTL, "--server", server.base_url, *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        """The next line of its output."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def close(self) -> None:
        """Ends it, and with it what it runs."""
        process = self._process
        if process.poll() is None:
            process.terminate()
            process.wait(60)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()

    def ended(self) -> tuple[int, str, str]:
        """Exit code, the rest of its output, and what it complained of."""
        output, errors = self._process.communicate(timeout=60)
        return self._process.returncode, output, errors


@pytest.fixture
def started(server: LiveServer) -> Iterator[list[Running]]:
    """What a test starts; ended with it."""
    found: list[Running] = []
    yield found
    for one in found:
        one.close()


def start(started: list[Running], server: LiveServer, *args: str) -> Running:
    started.append(Running(server, *args))
    return started[-1]


def test_a_session_is_made_shown_renewed_and_destroyed(ctl: Console) -> None:
    name = ctl.ok("session", "create", "--name", "w", "--ttl", "20s", "--lock-delay", "1s").text.strip()
    text = ctl.ok("session", "get", name).text
    assert f"Id:         {name}\n" in text
    assert "Ttl:        20s\n" in text
    assert "Lock delay: 1s\n" in text
    lines = ctl.ok("session", "list").text.splitlines()
    assert lines[0].split() == ["ID", "NAME", "NODE", "TTL", "BEHAVIOR"]
    assert [name, "w", "-", "20s", "release"] in [line.split() for line in lines[1:]]
    assert ctl.ok("session", "list", "--output", "json").json()[0]["id"]
    assert ctl.ok("session", "renew", name).text == f"Renewed {name} for 20s\n"
    assert ctl.ok("session", "destroy", name).text == f"Destroyed {name}\n"
    said = ctl("session", "get", name)
    assert (said.code, "session not found" in said.errors.lower()) == (3, True)
    bad = ctl("session", "create", "--check", "nothing")
    assert (bad.code, "unknown check 'nothing'" in bad.errors) == (2, True)


def test_a_command_runs_while_the_lock_is_held(
    server: LiveServer, client: Client, started: list[Running]
) -> None:
    script = "echo $KONSULCTL_LOCK_KEY $KONSULCTL_LOCK_INDEX; exit 7"
    running = start(started, server, "lock", "cli/a", "--ttl", "2s", "--", "sh", "-c", script)
    code, output, errors = running.ended()
    row = client.kv.get("cli/a")
    assert (code, output, errors) == (7, f"cli/a {row.lock_index}\n", "")
    assert row.session == ""
    assert list(client.sessions.list()) == []


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["no-such-program"], 127, "Error running no-such-program: No such file or directory\n"),
        (["/"], 126, "Error running /: Permission denied\n"),
        (["sh", "-c", "kill -9 $$"], 137, ""),
    ],
)
def test_how_a_command_ended_is_told(
    server: LiveServer, started: list[Running], command: list[str], code: int, words: str
) -> None:
    assert start(started, server, "lock", "cli/b", "--", *command).ended() == (code, "", words)


def test_arguments_are_not_a_shells(server: LiveServer, started: list[Running]) -> None:
    echo = start(started, server, "lock", "cli/c", "--", "echo", "$HOME", "--ttl", "*; exit 3")
    assert echo.ended() == (0, "$HOME --ttl *; exit 3\n", "")


def test_what_is_held_is_not_run_twice(server: LiveServer, started: list[Running]) -> None:
    holder = start(started, server, "lock", "cli/d", "--", "sh", "-c", "echo held; exec sleep 600")
    assert holder.line() == "held"
    code, output, errors = start(started, server, "lock", "cli/d", "--try", "--", "echo", "no").ended()
    assert (code, output) == (4, "")
    assert "'cli/d' is held by somebody else" in errors
    code, output, errors = start(
        started, server, "lock", "cli/d", "--wait", "100ms", "--", "echo", "no"
    ).ended()
    assert (code, output) == (5, "")
    assert "was not free within 0.1s" in errors
    waiter = start(started, server, "lock", "cli/d", "--wait", "60s", "--", "echo", "mine")
    holder.signal(signal.SIGTERM)
    assert holder.ended()[0] == 143, "the command got the signal, and its end is told"
    assert waiter.ended() == (0, "mine\n", "")


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("echo held; exec sleep 600", 143),
        ("trap '' TERM; echo held; sleep 600; sleep 600", 137),
        ("trap 'echo stopping; exit 0' TERM; echo held; while :; do sleep 0.05; done", 4),
    ],
    ids=["ends", "does not listen", "ends as if all were well"],
)
def test_a_lost_lock_ends_the_command(
    server: LiveServer, client: Client, started: list[Running], script: str, code: int
) -> None:
    holder = start(started, server, "lock", "cli/e", "--grace", "300ms", "--", "sh", "-c", script)
    assert holder.line() == "held"
    client.kv.delete("cli/e")
    ended, _, errors = holder.ended()
    assert ended == code
    assert errors.endswith("Error holding the lock: it was lost: its key was deleted\n")
    until(lambda: not list(client.sessions.list()), "its session to be ended")


def test_children_of_the_command_end_with_it(
    server: LiveServer, client: Client, started: list[Running], tmp_path: Path
) -> None:
    script = f"sh -c 'echo $$ > {tmp_path}/pid; echo held; sleep 600; true' & wait"
    holder = start(started, server, "lock", "cli/f", "--", "sh", "-c", script)
    assert holder.line() == "held"
    client.kv.delete("cli/f")
    assert holder.ended()[0] == 143
    child = (tmp_path / "pid").read_text().strip()
    until(lambda: not _lives(child), "the command's child to end")


def _lives(pid: str) -> bool:
    """Whether there is such a process that has not ended; nobody may have asked how it did."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_who_waits_can_be_told_to_stop(server: LiveServer, client: Client, started: list[Running]) -> None:
    with client.lock("cli/g", ttl="15s"):
        waiter = start(started, server, "lock", "cli/g", "--name", "waiter", "--", "echo", "no")
        until(lambda: "waiter" in [one.name for one in client.sessions.list()], "its session")
        waiter.signal(signal.SIGTERM)
        assert waiter.ended()[:2] == (143, "")
        assert "waiter" not in [one.name for one in client.sessions.list()]


def test_a_semaphore_has_so_many_places(server: LiveServer, started: list[Running]) -> None:
    script = "echo held; exec sleep 600"
    holders = [start(started, server, "semaphore", "cli/s", "2", "--", "sh", "-c", script) for _ in range(2)]
    assert [one.line() for one in holders] == ["held", "held"]
    code, _, errors = start(started, server, "semaphore", "cli/s", "2", "--try", "--", "true").ended()
    assert (code, "is held by somebody else" in errors) == (4, True)
    holders[0].signal(signal.SIGINT)
    assert holders[0].ended()[0] == 130
    assert start(started, server, "semaphore", "cli/s", "2", "--", "echo", "in").ended() == (0, "in\n", "")


@pytest.mark.parametrize(
    "args",
    [
        ["lock", "cli/h"],
        ["lock", "cli/h", "--try", "--wait", "1s", "--", "true"],
        ["lock", "cli/h", "--ttl", "soon", "--", "true"],
        ["semaphore", "cli/h", "0", "--", "true"],
        ["semaphore", "cli/h", "many", "--", "true"],
    ],
)
def test_what_makes_no_sense_is_refused(ctl: Console, args: list[str]) -> None:
    assert ctl(*args).code == 2
