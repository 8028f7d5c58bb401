"""`konsulctl completion`: the script a shell sources to complete commands and flags."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import typer
from typer.completion import get_completion_inspect_parameters

from konsul.cli.command import Single

PROGRAM = "konsulctl"
COMPLETE_VARIABLE = "_KONSULCTL_COMPLETE"


class Shell(StrEnum):
    """Shells with a script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def show(
    ctx: typer.Context,
    shell: Annotated[Shell, typer.Argument(metavar="bash|zsh|fish", help="The shell to write it for.")],
) -> None:
    """Print the completion script; bash and zsh: eval "$(konsulctl completion bash)"."""
    # The library writes the script when this variable asks for it; its function for that is not public.
    get_completion_inspect_parameters()
    os.environ[COMPLETE_VARIABLE] = f"source_{shell.value}"
    try:
        ctx.find_root().command.main(args=[], prog_name=PROGRAM, complete_var=COMPLETE_VARIABLE)
    finally:
        del os.environ[COMPLETE_VARIABLE]


COMMANDS = (Single("completion", show),)
