"""Upgrades a cluster node by node, so that writes go on: `python -m deploy.rolling_upgrade NODES.toml`.

Followers first, the leader last after it handed over. Before each node everything must be well; after it the
node must be back, follow, and hold what the leader had committed. If it is not in time, the node's restore
command is run and the program ends. Nothing waits for ever. `--dry-run` asks the cluster and prints the plan.

Exit status: 0 all done, 1 stopped and the node restored (or nothing was touched), 2 the command line or the
node file makes no sense, 3 stopped and the node needs a person.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.rolling.nodes import Misused, load
from deploy.rolling.steps import Failed, Limits, Rolling, Stuck
from deploy.rolling.view import Eyes
from konsul.errors import KonsulError

DONE, STOPPED, MISUSED, NEEDS_A_PERSON = 0, 1, 2, 3


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        "rolling_upgrade",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("nodes", type=Path, metavar="NODES.toml", help="the nodes and their commands")
    made.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="fills {NAME} in commands"
    )
    made.add_argument("--only", action="append", default=[], metavar="ID", help="just these nodes")
    made.add_argument("--expect-version", metavar="V", help="the version a node must say it has afterwards")
    made.add_argument("--command-timeout", type=float, default=600.0, metavar="S", help="limit of a command")
    made.add_argument(
        "--node-timeout", type=float, default=180.0, metavar="S", help="limit of a node's return"
    )
    made.add_argument(
        "--health-timeout", type=float, default=60.0, metavar="S", help="limit of becoming healthy"
    )
    made.add_argument("--token-file", metavar="FILE", help="bearer token for the nodes' API")
    made.add_argument("--ca-cert", metavar="FILE", help="trust anchor for https addresses")
    made.add_argument("--allow-interruption", action="store_true", help="also with fewer than three voters")
    made.add_argument(
        "--dry-run", action="store_true", help="ask the cluster, print the plan, change nothing"
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the upgrade; the exit status."""
    given = parser().parse_args(arguments)
    try:
        nodes = load(given.nodes, given.set)
        unknown = sorted(set(given.only) - {node.id for node in nodes})
        if unknown:
            raise Misused(f"{given.nodes} has no node {unknown[0]}")
        token = Path(given.token_file).read_text(encoding="utf-8").strip() if given.token_file else None
        eyes = Eyes({node.id: node.http for node in nodes}, token, given.ca_cert)
    except (Misused, OSError, KonsulError) as problem:
        print(f"rolling_upgrade: {problem}", file=sys.stderr)
        return MISUSED
    limits = Limits(given.command_timeout, given.node_timeout, given.health_timeout)
    rolling = Rolling(
        nodes,
        given.only,
        eyes,
        limits,
        version=given.expect_version,
        interruption=given.allow_interruption,
        say=lambda line: print(line, flush=True),
    )
    try:
        if given.dry_run:
            rolling.plan()
        else:
            rolling.run()
    except Stuck as problem:
        print(f"STOPPED, a person is needed: {problem}", file=sys.stderr)
        return NEEDS_A_PERSON
    except Failed as problem:
        print(f"STOPPED: {problem}", file=sys.stderr)
        return STOPPED
    finally:
        eyes.close()
    return DONE


if __name__ == "__main__":
    sys.exit(main())
