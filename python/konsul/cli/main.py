"""The entry point: `konsulctl <resource> <action> [flags] [arguments]`."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.completion import get_completion_inspect_parameters

from konsul.cli import discover
from konsul.cli.command import Group, Resource
from konsul.cli.completion import COMPLETE_VARIABLE, PROGRAM
from konsul.cli.options import Flags

ABOUT = "Control a Konsul server: keys and values, services, health."
EXIT_CODES = "Exit codes: 0 done, 1 refused or failed, 2 usage, 3 not found, 4 conflict, 5 unreachable."
FAILED_EXIT = 1
USAGE_EXIT = 2
INTERRUPTED_EXIT = 130
BROKEN_PIPE_EXIT = 141


class Root(Resource):
    """The resources. A group is imported when it is named, all of them for the help only."""

    hide_globals = False

    def format_commands(self, _ctx: Any, formatter: Any) -> None:
        # Names and sentences only: building every action of every group would double the time of --help.
        with formatter.section("Resources"):
            formatter.write_dl([(group.name, group.about) for group in discover.groups()])

    def list_commands(self, _ctx: Any) -> list[str]:
        return [group.name for group in discover.groups()]

    def get_command(self, _ctx: Any, cmd_name: str) -> Any:
        group = discover.find(cmd_name)
        return group.build() if group else None


def run(args: list[str]) -> int:
    """Runs one command line; returns its exit code. Nothing but the code tells the caller how it went."""
    app = Group(PROGRAM, ABOUT, cls=Root, usage="RESOURCE ACTION [FLAGS] [ARGUMENTS]", epilog=EXIT_CODES)
    if COMPLETE_VARIABLE in os.environ:
        # Registers typer's completion for each shell; without its --install-completion flags nothing else
        # does.
        get_completion_inspect_parameters()
    try:
        code = app.build().main(args, prog_name=PROGRAM, standalone_mode=False, obj=Flags())
        sys.stdout.flush()
    except typer.TyperException as error:
        return _usage(error)
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):
            return _reader_left()
        # Completion ends so, whatever is asked of it.
        return ended.code if isinstance(ended.code, int) else 0
    except typer.Abort:
        return INTERRUPTED_EXIT
    except BrokenPipeError:
        return _reader_left()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        typer.echo(f"Error writing results: {error.strerror or error}", err=True)
        return FAILED_EXIT
    return code if isinstance(code, int) else 0


def _reader_left() -> int:
    """The reader went away (`konsulctl kv list | head`): leave, and give the interpreter nothing to flush."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE_EXIT


def _usage(error: typer.TyperException) -> int:
    context = getattr(error, "ctx", None)
    if context is not None:
        typer.echo(context.get_usage(), err=True)
        typer.echo(f"Try '{context.command_path} --help' for help.", err=True)
    typer.echo(f"Error: {error.format_message()}", err=True)
    if getattr(error, "option_name", "").lstrip("-")[:1].isdigit():
        typer.echo("Put -- before arguments that begin with a dash.", err=True)
    return USAGE_EXIT


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
