"""`konsulctl cluster`: see and steer a cluster, through any of its nodes. Imports the client's side only."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from konsul.cli import values
from konsul.cli.command import Group, doing
from konsul.cli.options import seconds
from konsul.cli.output import Table
from konsul.errors import Invalid
from konsul.features.cluster import cli_views as views

if TYPE_CHECKING:
    from konsul.cli.session import Session
    from konsul.client.cluster import Cluster

cluster = Group("cluster", "See and steer a cluster of servers.")
autopilot = Group("autopilot", "Settings of the part that looks after the cluster, and what it sees.")
token = Group("token", "Tokens that let servers join.")
cluster.add_typer(autopilot)
cluster.add_typer(token)
COMMANDS = (cluster,)

Watch = Annotated[bool, typer.Option("--watch", help="Ask again and again, until Ctrl-C.")]
Interval = Annotated[
    str, typer.Option("--interval", metavar="TIME", help="Time between two questions of --watch.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask whether it is meant.")]
Ttl = Annotated[
    str | None, typer.Option("--ttl", metavar="TIME", help="How long it is good; the server has a default.")
]
Uses = Annotated[
    int | None, typer.Option("--uses", metavar="N", min=1, help="How many servers may join with it.")
]
Describe = Annotated[
    str | None, typer.Option("--description", metavar="TEXT", help="What it is for, shown in the list.")
]
To = Annotated[
    str | None, typer.Option("--to", metavar="NODE-ID", help="Who is to lead; else the most up to date.")
]
EVERY = "2s"
WATCH_TIMEOUT = "5s"
JOIN_TOKEN = "KONSUL_RAFT_JOIN_TOKEN"  # noqa: S105 - the name of a variable


@cluster.action("status")
def status(ctx: typer.Context, watched: Watch = False, interval: Interval = EVERY) -> None:
    """Show the cluster as the server asked sees it, also while nobody leads."""
    _report(ctx, "getting cluster status", lambda asked: asked.status(), views.status, watched, interval)


@cluster.action("leader")
def leader(ctx: typer.Context, watched: Watch = False, interval: Interval = EVERY) -> None:
    """Show who leads; exit code 3 while nobody does."""
    _report(ctx, "getting cluster leader", lambda asked: asked.leader(), views.leader, watched, interval)


@cluster.action("peers")
def peers(ctx: typer.Context, watched: Watch = False, interval: Interval = EVERY) -> None:
    """List the members."""
    _report(ctx, "listing cluster peers", _peers, views.peers, watched, interval)


@cluster.action("stats")
def stats(ctx: typer.Context, watched: Watch = False, interval: Interval = EVERY) -> None:
    """Show the Raft figures of the server asked."""
    _report(ctx, "getting cluster stats", lambda asked: asked.stats(), views.stats, watched, interval)


@cluster.action("health")
def health(ctx: typer.Context, watched: Watch = False, interval: Interval = EVERY) -> None:
    """Show how each server is; exit code 1 when the cluster is not healthy."""
    seen = _report(
        ctx, "getting cluster health", lambda asked: asked.health(), views.health, watched, interval
    )
    if not watched and not views.is_healthy(seen):
        raise typer.Exit(1)


@cluster.action("join")
def join(
    ctx: typer.Context,
    node: Annotated[str, typer.Argument(metavar="[NODE-ID]", help="Its name, KONSUL_RAFT_NODE_ID.")] = "",
    address: Annotated[
        str, typer.Argument(metavar="[ADDRESS]", help="Where it listens for peers, host:port.")
    ] = "",
    node_flag: Annotated[
        str, typer.Option("--node-id", "--node", metavar="ID", help="Its name as a flag.")
    ] = "",
    address_flag: Annotated[
        str, typer.Option("--address", metavar="HOST:PORT", help="Its address as a flag.")
    ] = "",
    token_file: Annotated[
        str | None,
        typer.Option(
            "--join-token-file",
            "--token-file",
            metavar="FILE",
            help=f"File with the join token, - for standard input [env {JOIN_TOKEN}].",
        ),
    ] = None,
) -> None:
    """Add a running server to the cluster of the one that is asked."""
    with doing(ctx, "joining node") as session:
        node = _one("the node's id", "NODE-ID or --node-id", node, node_flag)
        address = _one("the node's address", "ADDRESS or --address", address, address_flag)
        document = session.client.cluster.join(node, address, join_token=_join_token(token_file))
        text = f"{document.get('node_id', node)} ({document.get('address', address)}) joined successfully"
        session.out.done(_with_message(text, document), document)


@cluster.action("leave")
def leave(
    ctx: typer.Context,
    node: Annotated[str, typer.Argument(metavar="[NODE-ID]", help="The member to take out.")] = "",
    node_flag: Annotated[
        str, typer.Option("--node", "--node-id", metavar="ID", help="The member as a flag.")
    ] = "",
    yes: Yes = False,
) -> None:
    """Take a member out of the cluster, dead or alive; a leader hands over first."""
    with doing(ctx, "removing node") as session:
        node = _one("the node's id", "NODE-ID or --node", node, node_flag)
        if not (yes or values.meant(f'Are you sure you want to remove node "{node}" from the cluster?')):
            session.out.note("Removal canceled")
            return
        document = session.client.cluster.leave(node)
        session.out.done(_with_message(f'Node "{node}" removed from cluster', document), document)


@cluster.action("snapshot")
def snapshot(ctx: typer.Context) -> None:
    """Make the server asked take a snapshot now."""
    with doing(ctx, "triggering snapshot") as session:
        document = session.client.cluster.snapshot()
        session.out.done(f"Snapshot triggered: {document.get('message', '')}", document)


@cluster.action("transfer")
def transfer(ctx: typer.Context, to: To = None) -> None:
    """Hand leadership to another voter."""
    with doing(ctx, "transferring leadership") as session:
        document = session.client.cluster.transfer_leader(to)
        session.out.done(_with_message("Leadership transferred", document), document)


@cluster.action("transfer-leadership", hidden=True)
def transfer_leadership(ctx: typer.Context, to: To = None) -> None:
    """The same as transfer."""
    transfer(ctx, to)


@cluster.action("generate-token", hidden=True)
def generate_token(
    ctx: typer.Context, ttl: Ttl = None, uses: Uses = None, described: Describe = None
) -> None:
    """The same as token create."""
    create_token(ctx, ttl, uses, described)


@autopilot.action("get")
def get_autopilot(ctx: typer.Context) -> None:
    """Show autopilot's settings."""
    with doing(ctx, "getting autopilot settings") as session:
        settings = views.settings_of(session.client.cluster.autopilot())
        rows = [(name, views.plain(value)) for name, value in settings.items()]
        text = "\n".join(f"{name}={value}" for name, value in rows)
        session.out.show(settings, text=text, table=Table(("setting", "value"), rows))


@autopilot.action("set")
def set_autopilot(
    ctx: typer.Context,
    pairs: Annotated[list[str], typer.Argument(metavar="NAME=VALUE...", help="As autopilot get shows them.")],
) -> None:
    """Change autopilot's settings; those not named stay."""
    with doing(ctx, "changing autopilot settings") as session:
        changes = {one.key: views.scalar(one.value.decode()) for one in values.pairs(pairs)}
        document = session.client.cluster.set_autopilot(changes)
        told = ", ".join(f"{name}={views.plain(value)}" for name, value in changes.items())
        session.out.done(f"Successfully changed autopilot: {told}", document)


@autopilot.action("state")
def autopilot_state(ctx: typer.Context, watched: Watch = False, interval: Interval = EVERY) -> None:
    """Show what autopilot sees: each server's health, and how many may fail."""
    _report(ctx, "getting autopilot state", _autopilot_state, views.health, watched, interval)


@token.action("create")
def create_token(ctx: typer.Context, ttl: Ttl = None, uses: Uses = None, described: Describe = None) -> None:
    """Make a token and print it, this once; put it in KONSUL_RAFT_JOIN_TOKEN_FILE of the server to join."""
    with doing(ctx, "creating join token") as session:
        made = session.client.cluster.create_join_token(ttl=ttl, uses=uses, description=described)
        document = {"token": made.token, **views.token_document(made)}
        session.out.show(document, text=made.token, table=views.tokens([made], secret=True))
        session.out.note(views.token_note(made))


@token.action("list")
def list_tokens(ctx: typer.Context) -> None:
    """List the tokens that are still good, without their secrets."""
    with doing(ctx, "listing join tokens") as session:
        found = session.client.cluster.join_tokens()
        table = views.tokens(found)
        lines = ["Join tokens:", *(f"  {line}" for line in session.out.aligned(table.rows))]
        text = "\n".join(lines) if found else "No join tokens found"
        session.out.show([views.token_document(one) for one in found], text=text, table=table)


@token.action("revoke")
def revoke_token(
    ctx: typer.Context,
    token_id: Annotated[str, typer.Argument(metavar="TOKEN-ID", help="Its id, as token list shows it.")],
) -> None:
    """Make a token useless; servers that joined with it stay."""
    with doing(ctx, "revoking join token") as session:
        document = session.client.cluster.delete_join_token(token_id)
        session.out.done(f"Successfully revoked join token: {token_id}", document)


def _report(
    ctx: typer.Context,
    what: str,
    ask: Callable[[Cluster], Any],
    view: Callable[[Any], views.View],
    watched: bool,
    interval: str,
) -> Any:
    """Asks and shows, once or until Ctrl-C; returns the last answer."""
    with doing(ctx, what) as session:
        if not watched:
            answer = ask(session.client.cluster)
            _show(session, view(answer), answer)
            return answer
        from konsul.cli.watch import watch

        every_s = seconds(interval)
        if session.flags.text("timeout", session.profile) is None:
            # A node that hangs must not stop the picture for as long as one call may otherwise take.
            session.flags.given["timeout"] = WATCH_TIMEOUT
        watch(
            session,
            what,
            every_s,
            lambda: ask(session.client.cluster),
            lambda answer: _show(session, view(answer), answer),
        )
        return None


def _show(session: Session, view: views.View, document: Any) -> None:
    text = view.brief if session.out.quiet else "\n".join(_lines(session, view))
    session.out.show(document, text=text, table=view.table)


def _lines(session: Session, view: views.View) -> list[str]:
    lines: list[str] = []
    for block in view.blocks:
        if lines:
            lines.append("")
        if block.heading:
            lines.append(block.heading)
        lines += [block.indent + line for line in session.out.aligned(block.rows)]
    return lines


def _peers(asked: Cluster) -> list[dict[str, Any]]:
    return [dict(peer.document) for peer in asked.peers()]


def _autopilot_state(asked: Cluster) -> Any:
    return views.state_of(asked.autopilot())


def _one(what: str, where: str, argument: str, flag: str) -> str:
    if bool(argument) == bool(flag):
        raise Invalid(f"give {what} once, as {where}")
    return argument or flag


def _join_token(path: str | None) -> str | None:
    """The secret from a file, standard input or the environment: never from an argument, which others see."""
    if path is None:
        return os.environ.get(JOIN_TOKEN) or None
    try:
        text = values.read(path).decode().strip()
    except UnicodeDecodeError as cause:
        raise Invalid(f"{path} holds no token: {cause}") from cause
    if not text:
        raise Invalid(f"{path} holds no token: it is empty")
    return text


def _with_message(text: str, document: dict[str, Any]) -> str:
    message = str(document.get("message", ""))
    return f"{text}\n{message}" if message else text
