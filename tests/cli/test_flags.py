"""Where flags may stand, both spellings, what wins, help, and how misuse ends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from konsul.cli.options import Flags, seconds, settings
from konsul.errors import Invalid
from tests.cli.console import Console

NOWHERE = "http://127.0.0.1:1"
GROUPS = {
    "kv": ["get", "set", "delete", "list", "export", "import", "watch"],
    "batch": ["get", "set", "delete"],
    "service": ["register", "list", "get", "instances", "query", "deregister", "heartbeat", "watch"],
    "health": ["status", "live", "ready"],
    "profile": ["add", "list", "use", "remove"],
}
ACTIONS = [(group, action) for group, actions in GROUPS.items() for action in actions]


@pytest.mark.parametrize(
    "args",
    [
        ["--server", NOWHERE, "kv", "get", "a"],
        ["kv", "--server", NOWHERE, "get", "a"],
        ["kv", "get", "--server", NOWHERE, "a"],
        ["kv", "get", "a", "--server", NOWHERE],
        ["kv", "get", "a", f"--server={NOWHERE}"],
        ["kv", "get", "a", "-server", NOWHERE],
        ["kv", "get", f"-server={NOWHERE}", "a"],
        ["-server", NOWHERE, "kv", "get", "a"],
        ["kv", "get", "--server", NOWHERE, "--", "a"],
        ["--server", "http://127.0.0.1:2", "kv", "get", "a", "--server", NOWHERE],
    ],
)
def test_global_flags_stand_anywhere(console: Console, args: list[str]) -> None:
    said = console(*args, "--timeout", "1s") if "--" not in args else console("--timeout", "1s", *args)
    assert said.code == 5
    assert said.output == b""
    assert said.errors.startswith(f"Error getting key: cannot connect to {NOWHERE}:")


def test_a_double_dash_ends_flags(console: Console) -> None:
    said = console("kv", "get", "--timeout", "1s", "--", "--server")
    assert said.code == 5
    assert console("kv", "get", "--timeout", "1s", "--", "-server", "x").code == 2


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["nothing"], "No such command 'nothing'"),
        (["kv", "nothing"], "No such command 'nothing'"),
        (["help", "nothing"], "No such command 'nothing'"),
        (["kv", "get"], "Missing argument"),
        (["kv", "get", "a", "b"], "unexpected extra argument"),
        (["kv", "get", "a", "--bogus"], "No such option"),
        (["kv", "get", "a", "-bogus"], "No such option"),
        (["kv", "set", "a", "b", "--cas", "x"], "'--cas': 'x' is not a whole number from 0 to 1844"),
        (["kv", "set", "a", "b", "--flags", "-1"], "'--flags': '-1' is not a whole number"),
        (["kv", "set", "a", "b", "--flags", str(2**64)], "is not a whole number from 0 to 1844"),
        (["kv", "set", "a", "b", "--flags", "9" * 5000], "is not a whole number from 0 to 1844"),
        (["kv", "set", "a", "-5"], "Put -- before arguments that begin with a dash."),
        (["kv", "set"], "Usage: konsulctl kv set [FLAGS] KEY [VALUE]\n"),
        (["kv", "get", "a", "--output", "xml"], "'xml' is not one of text, table, json, yaml, raw."),
        (["kv", "get", "a", "--server"], "requires an argument"),
        (["completion", "tcsh"], "tcsh"),
        (["service", "register", "web", "h", "80", "--unknown", "x"], "No such option"),
    ],
)
def test_misuse_is_code_2_on_standard_error(console: Console, args: list[str], complaint: str) -> None:
    said = console(*args)
    assert (said.code, said.output) == (2, b"")
    assert said.errors.startswith(("Usage: konsulctl", "Error: "))
    assert complaint in said.errors


@pytest.mark.parametrize(
    ("args", "doing", "cause"),
    [
        (["kv", "set", "a"], "setting key", "give exactly one of VALUE and --file"),
        (["kv", "set", "a", "b", "--file", "c"], "setting key", "give exactly one of VALUE and --file"),
        (["kv", "get", "a", "--server", "ftp://x"], "getting key", "is not an http:// or https:// URL"),
        (["kv", "get", "a", "--timeout", "soon"], "getting key", "is not a positive duration"),
        (["kv", "get", ""], "getting key", "key is required"),
        (["kv", "delete", "a", "--recurse", "--cas", "1"], "deleting key", "--cas cannot be combined"),
        (["kv", "list", "a", "--prefix", "b"], "listing keys", "not both"),
        (["kv", "export", "a", "--prefix", "b"], "exporting keys", "not both"),
        (["kv", "list", "--recurse", "--keys"], "listing keys", "--recurse cannot be combined"),
        (["service", "register", "w", "h", "x"], "registering service", "invalid port: x"),
        (["service", "register", "w", "h", "1", "--meta", "a"], "registering service", "is not KEY=VALUE"),
        (["service", "query"], "querying services", "at least one tag or metadata filter"),
        (["health", "live", "--client-cert", "c"], "getting liveness", "must be given together"),
        (["kv", "get", "a", "--token-file", "absent"], "getting key", "cannot read the token file absent"),
    ],
)
def test_arguments_that_make_no_sense_are_code_2(
    console: Console, args: list[str], doing: str, cause: str
) -> None:
    said = console(*args)
    assert (said.code, said.output) == (2, b"")
    assert said.errors.startswith(f"Error {doing}: ")
    assert cause in said.errors


def test_without_arguments_the_help_is_shown_and_the_code_is_1(console: Console) -> None:
    bare, asked = console(), console("--help")
    assert (bare.code, bare.errors, asked.code) == (1, "", 0)
    assert bare.output == asked.output
    for word in (*GROUPS, "version", "completion", "--server", "--profile", "Exit codes"):
        assert word in bare.text


@pytest.mark.parametrize("spelling", [["-h"], ["--help"], ["help"]])
def test_help_of_the_whole(console: Console, spelling: list[str]) -> None:
    assert console.ok(*spelling).text.startswith("Usage: konsulctl [FLAGS] RESOURCE ACTION")


@pytest.mark.parametrize("group", GROUPS)
def test_help_of_a_resource(console: Console, group: str) -> None:
    asked = console.ok(group, "--help").text
    for action in GROUPS[group]:
        assert f"\n  {action} " in asked
    assert asked == console.ok(group, "-h").text == console.ok(group, "help").text
    assert asked == console.ok("help", group).text
    assert console(group).code == 1


@pytest.mark.parametrize(("group", "action"), ACTIONS)
def test_help_of_an_action_anywhere(console: Console, group: str, action: str) -> None:
    asked = console.ok(group, action, "--help").text
    assert asked.startswith(f"Usage: konsulctl {group} {action}")
    assert asked == console.ok(group, action, "x", "-h", "--server", "y").text
    assert asked == console.ok("help", group, action).text == console.ok(group, "help", action).text


def in_force(
    given: dict[str, Any], profile: dict[str, Any], monkeypatch: pytest.MonkeyPatch, **env: str
) -> Any:
    for name in list(os.environ):
        if name.startswith("KONSUL_"):
            monkeypatch.delenv(name)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return settings(Flags(given), profile)


def test_flag_then_environment_then_profile_then_default(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = {"server": "http://profile", "token": "from-profile", "timeout": "4s"}
    flag = {"server": "http://flag", "token": "from-flag", "timeout": "2s"}
    env = {"KONSUL_SERVER": "http://env", "KONSUL_TOKEN": "from-env", "KONSUL_TIMEOUT": "3s"}

    def seen(found: Any) -> tuple[str, str | None, float]:
        return found.address, found.token, found.policy.deadline_s

    assert seen(in_force(flag, profile, monkeypatch, **env)) == ("http://flag", "from-flag", 2)
    assert seen(in_force({}, profile, monkeypatch, **env)) == ("http://env", "from-env", 3)
    assert seen(in_force({}, profile, monkeypatch)) == ("http://profile", "from-profile", 4)
    assert seen(in_force({}, {}, monkeypatch)) == ("http://localhost:8888", None, 30)


def test_every_spelling_of_the_server_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KONSUL_SERVER", "KONSUL_ADDRESS", "KONSUL_URL"):
        assert in_force({}, {}, monkeypatch, **{name: "http://there:1"}).address == "http://there:1"
    both = {"KONSUL_URL": "http://url", "KONSUL_SERVER": "http://server"}
    assert in_force({}, {}, monkeypatch, **both).address == "http://server"


def test_a_secret_comes_from_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-file\n")
    file.chmod(0o600)
    profile = {"token": "from-profile", "api_key": "k"}
    by_flag = in_force({"token_file": str(file)}, profile, monkeypatch)
    by_variable = in_force({}, profile, monkeypatch, KONSUL_TOKEN_FILE=str(file))
    assert [by_flag.token, by_variable.token] == ["from-file", "from-file"]
    assert in_force({}, {"api_key_file": str(file)}, monkeypatch).api_key == "from-file"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30s", 30.0), ("1m30s", 90.0), ("500ms", 0.5), ("1.5h", 5400.0), ("250us", 0.00025), ("7", 7.0)],
)
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "0", "0s", "-1s", "1d", "1 s", "s", "1s2", "nan", "1e3"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(Invalid, match="duration"):
        seconds(text)


@pytest.mark.parametrize("flag", ["--tls-skip-verify", "--insecure-skip-verify"])
def test_skipping_verification_is_said_aloud(console: Console, flag: str) -> None:
    args = ["health", "live", "--server", "https://127.0.0.1:1", flag, "--timeout", "1s"]
    assert console(*args).errors.startswith("Warning: the server's certificate is not checked")
    assert "Warning" not in console(*args, "--quiet").errors


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(console: Console, shell: str) -> None:
    script = console.ok("completion", shell).text
    assert "_KONSULCTL_COMPLETE" in script
    assert f"complete_{shell}" in script


def test_completion_completes(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_KONSULCTL_COMPLETE", "complete_bash")

    def completed(line: str) -> list[str]:
        words = line.split(" ")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        return console.ok().text.split()

    assert completed("konsulctl k") == ["kv"]
    assert completed("konsulctl kv ") == GROUPS["kv"]
    assert "--cas" in completed("konsulctl kv set --c")
