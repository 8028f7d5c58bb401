"""The one table of the catalog: instances of services."""

from __future__ import annotations

from typing import Final

from konsul.engine import Form, Shape
from konsul.kernel.schema import Row, index, json_column, key, lease, table

SEPARATOR: Final = " "
"""Between name and id in a key. Below every character of a name, so that `web` sorts before `web-1`."""


@table("services", id=2)
class Instance(Row):
    """One instance of a service, held by a lease: without a heartbeat it goes."""

    key: str = key()
    name: str = index()
    id: str | None = None
    """None when it equals the name, as it does for every service registered without an id."""
    address: str = ""
    port: int = 0
    tags: list[str] = index(each=True, default=[])
    meta: dict[str, str] = index(each=True, default={})
    checks: bytes | None = json_column()
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
]
SERVICE: Final = Shape(Instance.table_id, _FIELDS)
"""A service as every answer shows it."""

FORM: Final = Form(
    Instance.table_id,
    kinds=("register", "register", "deregister", "expired", "heartbeat"),
    row=_FIELDS,
    wrap="service",
)
"""What a watch tells of an instance."""


def instance_key(name: str, instance_id: str | None = None) -> bytes:
    """The key of one instance; without an id the one that is called like its service."""
    return f"{name}{SEPARATOR}{instance_id or name}".encode()


def instances_prefix(name: str) -> bytes:
    """What the keys of all instances of a service start with."""
    return f"{name}{SEPARATOR}".encode()
