"""The command line of `konsul`, generated from the settings' declarations."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from konsul.kernel.config import CONFIG_FILE, Declaration
from konsul.kernel.node import VERSION

_DESCRIPTION = """\
Serves one Konsul node. Every setting can be given as a flag, as an environment variable or in a TOML file;
the first that is set wins, in this order. `konsul config reference` prints all of them."""


def parse(argv: Sequence[str], known: Mapping[str, Declaration]) -> tuple[str, dict[str, str]]:
    """The command (`serve` or `reference`) and the flags' texts by environment name. Exits on misuse."""
    parser = argparse.ArgumentParser(
        "konsul",
        usage="konsul [--config FILE] [--SETTING VALUE]...  |  konsul config reference",
        description=_DESCRIPTION,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"konsul {VERSION}")
    parser.add_argument("--config", dest=CONFIG_FILE, metavar="FILE", help=f"a TOML file ({CONFIG_FILE})")
    for declaration in known.values():
        if declaration.secret:
            # Everybody on the machine can read the arguments of a process.
            continue
        default = f" [{declaration.default_text}]" if declaration.default_text else ""
        parser.add_argument(
            declaration.flag,
            dest=declaration.env,
            metavar=declaration.kind.name.split()[0].upper(),
            help=(declaration.doc + default).replace("%", "%%"),
        )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    config = commands.add_parser("config", help="about the settings")
    config.add_argument("topic", choices=("reference",), help="print every setting as a Markdown table")
    secrets = {declaration.flag for declaration in known.values() if declaration.secret}
    told = next((flag for flag in (word.partition("=")[0] for word in argv) if flag in secrets), None)
    if told is not None:
        # The parser's own words would repeat the secret, and these go to a log.
        parser.error(f"{told} is a secret: everybody can read arguments, give it by environment or file")
    found = vars(parser.parse_args(argv))
    command = "reference" if found.pop("command") == "config" else "serve"
    found.pop("topic", None)
    return command, {name: text for name, text in found.items() if text is not None}


def reference(known: Mapping[str, Declaration]) -> str:
    """Every setting as a Markdown table."""
    lines = ["| Variable | Flag | TOML key | Kind | Default | Meaning |", "|---|---|---|---|---|---|"]
    for env, declaration in known.items():
        default = f"`{declaration.default_text}`" if declaration.default_text else "-"
        flag = "-" if declaration.secret else f"`{declaration.flag}`"
        lines.append(
            f"| `{env}` | {flag} | `{declaration.key}` | {declaration.kind.name} "
            f"| {default} | {declaration.doc} |"
        )
    return "\n".join(lines)
