"""What starting konsulctl loads. Times differ between machines; what is loaded does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "httpx",
    "rich",
    "cryptography",
    "yaml",
    "pydantic",
    "msgpack",
    "websockets",
    "strawberry",
    "graphql",
    "fastapi",
    "click",
    "konsul.engine",
    "konsul.kernel",
)
SOURCE = """
import sys
from konsul.cli.main import run
code = run({args!r})
print(code, [name for name in {heavy!r} if name in sys.modules], file=sys.stderr)
"""


def last_words(source: str, home: Path) -> str:
    """The last line a fresh interpreter writes on standard error."""
    env = {"HOME": str(home), "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-c", source]
    ended = subprocess.run(command, capture_output=True, text=True, env=env, check=True)
    return ended.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--help"], 0),
        ([], 1),
        (["version", "--client"], 0),
        (["version", "--client", "--output", "json"], 0),
        (["kv"], 1),
        (["kv", "--help"], 0),
        (["service", "register", "-h"], 0),
        (["service", "watch", "-h"], 0),
        (["graphql", "-h"], 0),
        (["cluster", "token", "create", "-h"], 0),
        (["tls", "cert", "create", "-h"], 0),
        (["lock", "-h"], 0),
        (["session", "create", "-h"], 0),
        (["completion", "bash"], 0),
    ],
)
def test_starting_loads_nothing_heavy(args: list[str], code: int, tmp_path: Path) -> None:
    source = SOURCE.format(args=args, heavy=HEAVY)
    assert last_words(source, tmp_path) == f"{code} []"


def test_a_real_call_loads_httpx_without_its_command_line(tmp_path: Path) -> None:
    args = ["health", "live", "--server", "http://127.0.0.1:1", "--timeout", "1s"]
    source = SOURCE.format(args=args, heavy=("rich", "pygments", "pydantic", "yaml", "websockets", "graphql"))
    assert last_words(source, tmp_path) == "5 []"


def test_the_installed_script_starts() -> None:
    script = Path(sys.executable).with_name("konsulctl")
    ended = subprocess.run([script, "version", "--client"], capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("konsulctl version ")


def test_a_reader_that_leaves_is_no_traceback() -> None:
    source = "import sys; from konsul.cli.main import run; sys.exit(run(['--help']))"
    with subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""


def test_a_reader_that_leaves_early_has_its_own_exit_code() -> None:
    source = (
        "import sys, typer\n"
        "from konsul.cli.main import run\n"
        "def left(*_, **__): raise BrokenPipeError(32, 'Broken pipe')\n"
        "typer.echo = left\n"
        "sys.exit(run(['version', '--client']))"
    )
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_a_full_disk_under_the_output_is_one_sentence() -> None:
    source = "import sys; from konsul.cli.main import run; sys.exit(run(['--help']))"
    with open("/dev/full", "w", encoding="utf-8") as full:
        ended = subprocess.run(
            [sys.executable, "-c", source], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (ended.returncode, ended.stderr) == (1, "Error writing results: No space left on device\n")
