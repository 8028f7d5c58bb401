"""What a command group is made of: `Group`, its actions, and `doing`, which runs one and reports how it
failed.

A feature's `cli.py` builds its groups from here and names them in COMMANDS; the rest comes by itself:
global flags at any place, both spellings of a flag, help everywhere, output forms, exit codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from konsul.cli.options import MARK, Flags, parameters
from konsul.cli.quick import lighten
from konsul.cli.session import Session
from konsul.errors import KonsulError

Handler = Callable[..., None]
HELP_NAMES = ["-h", "--help"]
CONTEXT = {"help_option_names": HELP_NAMES}
EPILOG = "Global flags such as --server, --output and --profile work here too: see konsulctl --help."


class _GlobalFlags:
    """Adds the global flags to a click command, except those whose spelling the command uses itself."""

    hide_globals = True

    def get_params(self, ctx: Any) -> list[Any]:
        own: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        lighten(own)
        for one in own:
            if one.param_type_name == "argument":
                # The help says KEY and [VALUE], as the reference does; typer adds braces of its own.
                one._usage_display_name = partial(str, one.metavar or one.name)
        taken = {spelling for one in own for spelling in one.opts}
        return own + [one for one in parameters(self.hide_globals) if not taken.intersection(one.opts)]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        rest: list[str] = super().parse_args(ctx, self._spelled(ctx, args))  # type: ignore[misc]
        given = ctx.find_object(Flags).given
        for name in [name for name in ctx.params if name.startswith(MARK)]:
            value = ctx.params.pop(name)
            if value not in (None, False):
                given[name.removeprefix(MARK)] = value
        return rest

    def _spelled(self, ctx: Any, args: list[str]) -> list[str]:
        """`-server` becomes `--server`, for flags known here and up to `--`; scripts use both spellings."""
        known = {
            spelling for one in self.get_params(ctx) for spelling in one.opts if spelling.startswith("--")
        }
        end = args.index("--") if "--" in args else len(args)
        spelled = [
            f"-{arg}" if arg[:1] == "-" and arg[:2] != "--" and f"-{arg.partition('=')[0]}" in known else arg
            for arg in args[:end]
        ]
        return spelled + args[end:]


class Action(_GlobalFlags, TyperCommand):
    """One action of a group."""


class Resource(_GlobalFlags, TyperGroup):
    """A group of actions. Without an action, and for the word `help`, it shows its help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        words = [*ctx._protected_args, *rest]
        if words[:1] == ["help"] and "help" not in self.commands:
            target, target_ctx = self._helped(ctx, words[1:])
            typer.echo(target.get_help(target_ctx))
            ctx.exit(0)
        if not words and not ctx.resilient_parsing:
            typer.echo(self.get_help(ctx))
            ctx.exit(1)
        return rest

    def _helped(self, ctx: Any, words: list[str]) -> tuple[Any, Any]:
        command: Any = self
        for word in words:
            below = command.get_command(ctx, word) if isinstance(command, TyperGroup) else None
            if below is None:
                ctx.fail(f"No such command {word!r}.")
            command = below
            ctx = command.context_class(command, info_name=word, parent=ctx, help_option_names=HELP_NAMES)
        return command, ctx


class Group(typer.Typer):
    """A resource of konsulctl: `kv = Group("kv", "Read and write keys.")`, then `@kv.action("get")`."""

    def __init__(
        self,
        name: str,
        help: str,
        cls: type[TyperGroup] = Resource,
        usage: str = "ACTION [FLAGS] [ARGUMENTS]",
        epilog: str | None = EPILOG,
    ) -> None:
        super().__init__(
            name=name,
            help=help,
            cls=cls,
            epilog=epilog,
            subcommand_metavar=usage,
            options_metavar="[FLAGS]",
            add_completion=False,
            rich_markup_mode=None,
            context_settings=CONTEXT,
        )
        self.name = name
        self.about = help
        self.callback()(_nothing)

    def action(self, name: str, hidden: bool = False) -> Callable[[Handler], Handler]:
        """Adds a function as an action; its docstring is the help, its parameters are flags and arguments."""
        return self.command(
            name,
            cls=Action,
            epilog=EPILOG,
            hidden=hidden,
            options_metavar="[FLAGS]",
            context_settings=CONTEXT,
        )

    def build(self) -> Any:
        """The click command."""
        return get_group(self)


class Single(typer.Typer):
    """A resource without actions, such as `konsulctl version`: one function."""

    def __init__(self, name: str, handler: Handler) -> None:
        super().__init__(name=name, add_completion=False, rich_markup_mode=None)
        self.name = name
        self.about = (handler.__doc__ or "").partition("\n")[0]
        self.command(name, cls=Action, epilog=EPILOG, options_metavar="[FLAGS]", context_settings=CONTEXT)(
            handler
        )

    def build(self) -> Any:
        """The click command."""
        return get_command(self)


def _nothing() -> None:
    """A group by itself does nothing."""


@contextmanager
def doing(ctx: typer.Context, what: str) -> Iterator[Session]:
    """Opens the session of an action. An error of Konsul ends it as `Error <what>: <cause>` with its exit
    code."""
    flags = ctx.find_object(Flags) or Flags()
    session = Session(flags)
    try:
        yield session
    except KonsulError as error:
        session.complain(what, error)
        raise typer.Exit(error.exit_status) from error
    finally:
        session.close()
