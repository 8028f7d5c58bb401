"""Forms, colours, quiet and progress of the printer."""

from __future__ import annotations

import io
import sys

import pytest

from konsul.cli.options import Form
from konsul.cli.output import Printer, Table


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal."""

    def __init__(self) -> None:
        self.content = io.BytesIO()
        super().__init__(self.content, encoding="utf-8", write_through=True)

    def isatty(self) -> bool:
        return True

    def written(self) -> str:
        self.flush()
        return bytes(self.content.getvalue()).decode()


def test_each_form(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    def shown(form: Form) -> bytes:
        Printer(form, quiet=False, color=False).show(
            {"a": "ü"}, text="plain", table=Table(("A", "B"), [["1", "[x]"], [2, "y" * 200]]), raw=b"\xff"
        )
        sys.stdout.flush()
        return capfdbinary.readouterr().out

    assert shown(Form.TEXT) == b"plain\n"
    assert shown(Form.JSON) == '{\n  "a": "ü"\n}\n'.encode()
    assert shown(Form.YAML) == "a: ü\n".encode()
    assert shown(Form.RAW) == b"\xff"
    table = [line.split() for line in shown(Form.TABLE).decode().splitlines()]
    assert table == [["A", "B"], ["1", "[x]"], ["2", "y" * 200]]


def test_colours_only_on_a_terminal_and_only_when_wanted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Printer(Form.TEXT, quiet=False, color=True).error("Error doing:", "cause")
    assert capsys.readouterr().err == "Error doing: cause\n"
    for color, expected in ((True, True), (False, False)):
        screen = Terminal()
        monkeypatch.setattr(sys, "stderr", screen)
        Printer(Form.TEXT, quiet=False, color=color).error("Error doing:", "cause")
        assert ("\x1b[" in screen.written()) is expected


@pytest.mark.parametrize("form", [Form.TEXT, Form.TABLE, Form.JSON])
def test_what_others_wrote_does_not_take_a_terminal_over(
    form: Form, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    written = "a\x1b]0;owned\x07\x9b2J\u202eb\rc\nd"

    def show() -> None:
        Printer(form, quiet=False, color=False).show(
            {"output": written}, text=written, table=Table(("OUTPUT",), [[written]])
        )

    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "dumb")
    show()
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & set(screen.written())
    assert "owned" in screen.written()
    monkeypatch.undo()
    if form is Form.TEXT:
        show()
        assert capfd.readouterr().out == written + "\n", "a program gets what there is"


def test_a_progress_bar_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")

    def worked(quiet: bool) -> None:
        with Printer(Form.TEXT, quiet=quiet, color=False).progress("writing", 10) as advance:
            advance(10)

    worked(quiet=True)
    assert terminal.written() == ""
    worked(quiet=False)
    assert "writing" in terminal.written()
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    worked(quiet=False)
    assert pipe.getvalue() == ""
