"""The tables of the catalog: instances of services, the nodes they run on, their checks.

What makes an instance critical is law here: a check or a node that becomes critical makes it so in the same
entry. What makes it better is planned, in `status`.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from konsul.engine import Form, Shape
from konsul.kernel import entry
from konsul.kernel.schema import Row, index, json_column, key, lease, ref, table

SEPARATOR: Final = " "
"""Between name and id in a key. Below every character of a name, so that `web` sorts before `web-1`."""


PASSING: Final = "passing"
WARNING: Final = "warning"
CRITICAL: Final = "critical"
STATUSES: Final = (PASSING, WARNING, CRITICAL)
"""From best to worst."""
TTL_EXPIRED: Final = "TTL expired"
Origin: TypeAlias = Literal["registration", "api", "maintenance"]


@table("services", id=2)
class Instance(Row):
    """One instance of a service, held by a lease: without a heartbeat it goes, and with its node."""

    key: str = key()
    name: str = index()
    id: str | None = None
    """None when it equals the name, as it does for every service registered without an id."""
    address: str = ""
    port: int = 0
    tags: list[str] = index(each=True, default=[])
    meta: dict[str, str] = index(each=True, default={})
    checks: bytes | None = json_column(default=None)
    """The definitions that came with its registration, as they are shown with it."""
    ttl_ms: int | None = lease()
    """None: it stays until it is deregistered."""
    node: str | None = ref(
        lambda: Node,
        default=None,
        then=lambda: [entry.delete(Instance, entry.SELF)],
        breaks_when=("health", CRITICAL),
        when_broken=lambda: [entry.patch(Instance, entry.SELF, {"health": CRITICAL})],
    )
    """The node it said it runs on."""
    zone: str = index()
    health: str = index(default=PASSING)
    """The worst of its checks and of its node."""
    check_ids: list[str] | None = ref(
        lambda: Check,
        default=None,
        each=True,
        breaks_when=("status", CRITICAL),
        when_broken=lambda: [entry.patch(Instance, entry.SELF, {"health": CRITICAL})],
    )
    """Every check of it, wherever it came from; None for none, never empty."""


@table("nodes", id=13)
class Node(Row):
    """A machine that instances run on. Its instances are those that say so; they go with it."""

    name: str = key()
    address: str = ""
    """Empty: nobody has said it, the node came with an instance."""
    zone: str = index()
    meta: dict[str, str] = index(each=True, default={})
    health: str = index(default=PASSING)
    """The worst of its own checks; its instances are never better."""
    check_ids: list[str] | None = ref(
        lambda: Check,
        default=None,
        each=True,
        breaks_when=("status", CRITICAL),
        when_broken=lambda: [entry.patch(Node, entry.SELF, {"health": CRITICAL})],
    )
    """Every check of the node itself; None for none, never empty."""


@table("checks", id=14)
class Check(Row):
    """A check of one instance or of one node, with which it goes. Ids are unique in the cluster."""

    id: str = key()
    service: str = index()
    """The service's name; empty for a node's check."""
    instance: str | None = ref(lambda: Instance, default=None, then=lambda: [entry.delete(Check, entry.SELF)])
    """The instance's key, `<name> <id>`. Either this or `node` is given."""
    node: str | None = ref(lambda: Node, default=None, then=lambda: [entry.delete(Check, entry.SELF)])
    """The node that it is a check of; None for an instance's check, wherever that runs."""
    name: str = ""
    type: str = ""
    """http, tcp, grpc, udp, script, ttl, alias or maintenance."""
    definition: bytes | None = json_column(default=None)
    """What it does, as `check_definitions.definition` completes it; a changed one is another check."""
    status: str = index(default=CRITICAL)
    output: str = ""
    changed_at_ms: int = 0
    """When the status last changed, in ms since 1970."""
    recent: bytes | None = json_column(default=None)
    """The last transitions that were planned, oldest first; see `status.transitions_of`."""
    deregister_after_ms: int | None = None
    """Critical for so long, its instance is to be deregistered; None: never."""
    lease: str | None = ref(
        lambda: CheckLease,
        default=None,
        then=lambda: [
            entry.patch(
                Check,
                entry.SELF,
                {"status": CRITICAL, "output": TTL_EXPIRED, "changed_at_ms": entry.now(), "lease": None},
            )
        ],
    )
    """Its own id while a lease holds its status, which is critical when that ends."""
    origin: str = "registration"
    """What made it, an `Origin`: a registration that comes without it takes only its own away."""


@table("check_leases", id=15)
class CheckLease(Row):
    """How long the last report of a TTL check counts. Renewals stay out of the log."""

    id: str = key()
    of: str | None = ref(Check, default=None, then=lambda: [entry.delete(CheckLease, entry.SELF)])
    ttl_ms: int | None = lease()


KEY: Final = -1
CREATE_INDEX: Final = -2
MODIFY_INDEX: Final = -3
OMIT_EMPTY: Final = 1
VERBATIM: Final = 8

_FIELDS: Final = [
    ("name", Instance.column("name"), 0),
    ("id", Instance.column("id"), OMIT_EMPTY),
    ("address", Instance.column("address"), 0),
    ("port", Instance.column("port"), 0),
    ("tags", Instance.column("tags"), OMIT_EMPTY),
    ("meta", Instance.column("meta"), OMIT_EMPTY),
    ("checks", Instance.column("checks"), OMIT_EMPTY | VERBATIM),
    ("node", Instance.column("node"), OMIT_EMPTY),
    ("zone", Instance.column("zone"), OMIT_EMPTY),
]
SERVICE: Final = Shape(Instance.table_id, _FIELDS)
"""A service as every answer shows it."""
LISTED: Final = Shape(Instance.table_id, [*_FIELDS, ("health", Instance.column("health"), 0)])
"""A service as searches show it."""


def instance_form(*statuses: str) -> Form:
    """What a watch tells of an instance, its health with it. With `statuses`: of one that is none of them as
    if it were not there, so that whoever hears of what is healthy hears of it going."""
    only = (Instance.column("health"), [status.encode() for status in statuses]) if statuses else None
    return Form(
        Instance.table_id,
        kinds=("register", "register", "deregister", "expired", "heartbeat"),
        row=[*_FIELDS, ("health", Instance.column("health"), 0)],
        wrap="service",
        only=only,
    )


FORM: Final = instance_form()
"""What a watch tells of every instance."""


def instance_key(name: str, instance_id: str | None = None) -> bytes:
    """The key of one instance; without an id the one that is called like its service."""
    return f"{name}{SEPARATOR}{instance_id or name}".encode()


def instances_prefix(name: str) -> bytes:
    """What the keys of all instances of a service start with."""
    return f"{name}{SEPARATOR}".encode()


def split_key(key: str) -> tuple[str, str]:
    """The service and the id of the instance with that key; empty ones of an empty key."""
    name, _, instance_id = key.partition(SEPARATOR)
    return name, instance_id
