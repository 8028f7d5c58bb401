"""The cluster's documents as a person reads them: blocks of aligned lines, tables, colours.

Documents grow with the server: what is missing is left out, what is unknown stays in `--output json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from konsul.cli.output import Painted, Table

if TYPE_CHECKING:
    from konsul.client import JoinToken

Document = Mapping[str, Any]
Row = Sequence[object]
LAG_WARNS = 1
LAG_ALARMS = 1_000
"""Log entries a node may be behind before it is yellow, and red."""
CLUSTER_COLORS = {"healthy": "green", "degraded": "yellow", "unavailable": "red"}
ROLE_COLORS = {"leader": "green", "follower": "", "learner": "cyan", "candidate": "yellow"}
STATS = (
    ("Term", "term"),
    ("Last Log Index", "last_log_index"),
    ("Last Log Term", "last_log_term"),
    ("Commit Index", "commit_index"),
    ("Applied Index", "applied_index"),
    ("Pending", "fsm_pending"),
    ("Last Snapshot", "last_snapshot_index"),
    ("Snapshot Term", "last_snapshot_term"),
    ("Peers", "num_peers"),
)


@dataclass(frozen=True, slots=True)
class Block:
    """Aligned rows under a heading."""

    rows: Sequence[Row]
    heading: str = ""
    indent: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """A document for people: as text, in one word for `--quiet`, as a table."""

    blocks: Sequence[Block]
    brief: str
    table: Table


@dataclass(frozen=True, slots=True)
class Column:
    """A column of members; left out when no member has it."""

    name: str
    cell: Callable[[Document], object]


def status(document: Document) -> View:
    """What `GET /cluster/status` answers."""
    members = members_of(document)
    cluster_state = str(document.get("cluster_state", ""))
    leader_id = str(document.get("leader_id") or "")
    facts: list[Row] = [
        ("Node ID:", document.get("node_id", "")),
        ("State:", document.get("state", "")),
        ("Leader ID:", leader_id or Painted("none", "red")),
        ("Leader Addr:", document.get("leader_addr") or "-"),
        ("Cluster:", _cluster_line(document, cluster_state, members)),
        *_membership(document),
        ("Last Index:", document.get("last_index", 0)),
        ("Applied Idx:", document.get("applied_index", 0)),
        ("Commit Index:", document.get("commit_index", 0)),
    ]
    table = _table(members)
    blocks = [Block(facts), Block(_member_lines(members), f"Peers ({len(members)}):", "- ")]
    figures = _figures(document.get("stats") or {})
    if figures:
        blocks.append(Block(figures, "Raft Stats:", "  "))
    return View(blocks, cluster_state or str(document.get("state", "")), table)


def leader(document: Document) -> View:
    """What `GET /cluster/leader` answers."""
    name, address = str(document.get("leader_id", "")), str(document.get("leader_addr", ""))
    facts: list[Row] = [("Leader ID:", name), ("Leader Addr:", address)]
    blocks = [Block(facts)]
    if document.get("is_self"):
        blocks.append(Block([("The server asked is the leader.",)]))
    return View(blocks, name, Table(("id", "address", "is_self"), [(name, address, document.get("is_self"))]))


def peers(documents: Sequence[Document]) -> View:
    """The members of `GET /cluster/peers`."""
    rows = _member_lines(documents)
    brief = "\n".join(str(one.get("id", "")) for one in documents)
    return View([Block(rows, f"Peers ({len(documents)}):", "  ")], brief, _table(documents))


def stats(document: Document) -> View:
    """What `GET /cluster/stats` answers."""
    rows = _figures(document)
    table = Table(("name", "value"), [(name, plain(value)) for name, value in document.items()])
    return View([Block(rows)], "\n".join(f"{name} {value}" for name, value in rows), table)


def health(document: Document) -> View:
    """What `GET /cluster/health` answers, and autopilot's state: a verdict and a line for each server."""
    servers = _servers(document)
    good = is_healthy(document)
    verdict = str(document.get("status") or ("healthy" if good else "unhealthy"))
    facts: list[Row] = [("Cluster:", Painted(verdict, "green" if good else "red"))]
    for label, name in (("Leader:", "leader"), ("Voters:", "voters"), ("May fail:", "failure_tolerance")):
        if document.get(name) not in (None, "", []):
            facts.append((label, _listed(document[name])))
    blocks = [Block(facts)]
    if servers:
        blocks.append(Block(_server_lines(servers), f"Servers ({len(servers)}):", "  "))
    for heading, name in (("Held back:", "held_back"), ("Done lately:", "decisions")):
        if document.get(name):
            blocks.append(Block([[_told(one)] for one in document[name]], heading, "  "))
    return View(blocks, verdict, _table(servers, SERVER_COLUMNS))


def is_healthy(document: Any) -> bool:
    """Whether the verdict is good."""
    if "healthy" in document:
        return bool(document["healthy"])
    return bool(document.get("status", document.get("cluster_state")) == "healthy")


def members_of(document: Document) -> list[Document]:
    """Each member once: its standing from `peers`, its role and lag from `nodes`."""
    found: dict[str, dict[str, Any]] = {}
    for one in document.get("peers") or ():
        found[str(one.get("id"))] = {**one, "suffrage": one.get("state", "")}
    for one in document.get("nodes") or ():
        name = str(one.get("id"))
        known = found.get(name, {})
        found[name] = {**known, **one, "state": known.get("state", ""), "role": one.get("state", "")}
    return list(found.values())


def settings_of(document: Document) -> Document:
    """The settings within what `GET /cluster/autopilot` answers."""
    settings: Document = document.get("config", document)
    return settings


def state_of(document: Document) -> Document:
    """What autopilot sees, within what `GET /cluster/autopilot` answers."""
    state: Document = document.get("state", document)
    return state


def tokens(found: Iterable[JoinToken], secret: bool = False) -> Table:
    """Join tokens; the secret of one that was just made."""
    rows = [
        (*((one.token,) if secret else ()), one.id, f"expires {_moment(one)}", _uses(one), one.description)
        for one in found
    ]
    return Table((*(("token",) if secret else ()), "id", "expires", "uses", "description"), rows)


def token_document(one: JoinToken) -> dict[str, Any]:
    """A join token without its secret."""
    return {
        "id": one.id,
        "expires_at": one.expires_at.isoformat() if one.expires_at else None,
        "uses_left": one.uses_left,
        "description": one.description,
    }


def token_note(one: JoinToken) -> str:
    """What to know of a token that was just made."""
    name = f"Token {one.id}" if one.id else "The token"
    return f"{name} expires {_moment(one)}, {_uses(one)}. It is not shown again."


def scalar(text: str) -> Any:
    """`true`, `false` and numbers as JSON has them; other text stays text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, (bool, int, float)) else text


def plain(value: Any) -> str:
    """A value as it would be typed."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cluster_line(document: Document, state: str, members: Sequence[Document]) -> object:
    quorum = document.get("quorum")
    voters = [one for one in members if one.get("suffrage", "Voter") == "Voter"]
    tail = f", quorum {quorum} of {len(voters)}" if quorum else ""
    return Painted((state or "unknown") + tail, CLUSTER_COLORS.get(state, "yellow"))


def _membership(document: Document) -> list[Row]:
    """Said only where it is not what one expects: a node that is in no cluster yet, or not any more."""
    membership = str(document.get("membership", "formed"))
    return [] if membership == "formed" else [("Membership:", Painted(membership, "yellow"))]


def _figures(document: Document) -> list[Row]:
    return [(f"{label}:", document[name]) for label, name in STATS if name in document]


def _member_lines(members: Sequence[Document]) -> list[Row]:
    return _filled(members, MEMBER_COLUMNS, bracketed=True)


def _server_lines(servers: Sequence[Document]) -> list[Row]:
    return _filled(servers, SERVER_COLUMNS, bracketed=True)


def _filled(members: Sequence[Document], columns: Sequence[Column], bracketed: bool = False) -> list[Row]:
    """The cells of those columns that at least one member has; for lines, each says what it is."""
    used = _used(members, columns)
    return [
        [_labelled(column.name, column.cell(one)) if bracketed else column.cell(one) for column in used]
        for one in members
    ]


def _used(members: Sequence[Document], columns: Sequence[Column]) -> list[Column]:
    return [column for column in columns if any(str(column.cell(one)) for one in members)]


def _table(members: Sequence[Document], columns: Sequence[Column] | None = None) -> Table:
    columns = columns or MEMBER_COLUMNS
    used = _used(members, columns) or list(columns[:1])
    return Table([column.name for column in used], _filled(members, used))


def _labelled(name: str, cell: object) -> object:
    text = str(cell)
    if not text:
        return ""
    if name == "state":
        text = f"[{text}]"
    elif name in ("lag", "contact", "zone", "version", "score", "stable"):
        text = f"{name} {text}"
    return Painted(text, cell.color) if isinstance(cell, Painted) else text


def _state(one: Document) -> object:
    text = str(one.get("state", ""))
    return text if text in ("", "Voter") else Painted(text, "cyan")


def _role(one: Document) -> object:
    text = str(one.get("role", ""))
    color = ROLE_COLORS.get(text, "red")
    return Painted(text, color) if text and color else text


def _lag(one: Document) -> object:
    lag = one.get("lag")
    if not isinstance(lag, int):
        return ""
    return Painted(str(lag), "red" if lag >= LAG_ALARMS else "yellow" if lag >= LAG_WARNS else "green")


def _contact(one: Document) -> object:
    value = one.get("last_contact_ms", one.get("last_contact"))
    if value is None:
        return ""
    return f"{value} ms" if isinstance(value, (int, float)) else str(value)


def _link(one: Document) -> object:
    return Painted("silent", "red") if one.get("connected") is False else ""


def _healthy(one: Document) -> object:
    good = one.get("healthy")
    return "" if good is None else Painted("healthy" if good else "unhealthy", "green" if good else "red")


def _text(name: str) -> Callable[[Document], object]:
    return lambda one: "" if one.get(name) is None else _listed(one[name])


MEMBER_COLUMNS = (
    Column("id", _text("id")),
    Column("address", _text("address")),
    Column("state", _state),
    Column("role", _role),
    Column("link", _link),
    Column("lag", _lag),
    Column("contact", _contact),
    Column("zone", _text("zone")),
    Column("version", _text("version")),
    Column("http", _text("http_address")),
)
SERVER_COLUMNS = (
    Column("id", _text("id")),
    Column("address", _text("address")),
    Column("health", _healthy),
    *MEMBER_COLUMNS[2:7],
    Column("score", _text("score")),
    Column("stable", _text("stable_since")),
    *MEMBER_COLUMNS[7:9],
)


def _servers(document: Document) -> list[Document]:
    """The servers with their standing in `state` and their role in `role`, as members have them."""
    return [
        {**one, "role": one.get("state", ""), "state": "Voter" if one.get("voter") else "Nonvoter"}
        for one in document.get("servers") or ()
    ]


def _told(one: Any) -> str:
    """What autopilot did or would not do, in one line."""
    return "  ".join(str(value) for value in one.values()) if isinstance(one, Mapping) else str(one)


def _listed(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("id", "")) or plain(value)
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else plain(value)


def _moment(one: JoinToken) -> str:
    return one.expires_at.strftime("%Y-%m-%d %H:%M:%S UTC") if one.expires_at else "never"


def _uses(one: JoinToken) -> str:
    if one.uses_left is None:
        return "any number of uses"
    return "1 use left" if one.uses_left == 1 else f"{one.uses_left} uses left"
