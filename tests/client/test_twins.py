"""Both clients offer the same, and importing the package costs nothing."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from konsul.client.acl import Acl
from konsul.client.acl_aio import AsyncAcl
from konsul.client.aio import AsyncClient, AsyncKV
from konsul.client.audit import Audit
from konsul.client.audit_aio import AsyncAudit
from konsul.client.auth import ApiKeys, Auth, Users
from konsul.client.auth_aio import AsyncApiKeys, AsyncAuth, AsyncUsers
from konsul.client.checks import Checks
from konsul.client.checks_aio import AsyncChecks
from konsul.client.cluster import Cluster
from konsul.client.cluster_aio import AsyncCluster
from konsul.client.dependencies import ServiceDependencies
from konsul.client.dependencies_aio import AsyncServiceDependencies
from konsul.client.lb import Balancing
from konsul.client.lb_aio import AsyncBalancing
from konsul.client.locks import Election, Held, Lock, Semaphore
from konsul.client.locks_aio import AsyncElection, AsyncHeld, AsyncLock, AsyncSemaphore
from konsul.client.nodes import Nodes
from konsul.client.nodes_aio import AsyncNodes
from konsul.client.queries import Queries
from konsul.client.queries_aio import AsyncQueries
from konsul.client.ratelimit import RateLimit
from konsul.client.ratelimit_aio import AsyncRateLimit
from konsul.client.services import Services
from konsul.client.services_aio import AsyncServices
from konsul.client.sessions import Sessions
from konsul.client.sessions_aio import AsyncSessions
from konsul.client.sync import KV, Client
from konsul.client.watch import Watch
from konsul.client.watch_aio import AsyncWatch

PAIRS = [
    (Client, AsyncClient),
    (KV, AsyncKV),
    (Services, AsyncServices),
    (ServiceDependencies, AsyncServiceDependencies),
    (Nodes, AsyncNodes),
    (Checks, AsyncChecks),
    (Cluster, AsyncCluster),
    (Auth, AsyncAuth),
    (Users, AsyncUsers),
    (ApiKeys, AsyncApiKeys),
    (Acl, AsyncAcl),
    (Audit, AsyncAudit),
    (RateLimit, AsyncRateLimit),
    (Balancing, AsyncBalancing),
    (Queries, AsyncQueries),
    (Watch, AsyncWatch),
    (Sessions, AsyncSessions),
    (Lock, AsyncLock),
    (Semaphore, AsyncSemaphore),
    (Election, AsyncElection),
    (Held, AsyncHeld),
]
NEVER_EARLY = ("httpx", "msgpack", "yaml", "rich", "typer", "websockets")


def offered(kind: type) -> dict[str, list[tuple[str, str, object]]]:
    """Public methods with their parameters."""
    return {
        name: [(p.name, str(p.kind), p.annotation) for p in inspect.signature(method).parameters.values()]
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


@pytest.mark.parametrize(("blocking", "waiting"), PAIRS)
def test_same_methods_and_parameters(blocking: type, waiting: type) -> None:
    assert offered(blocking) == offered(waiting)


@pytest.mark.parametrize(("blocking", "waiting"), PAIRS)
def test_same_words_about_them(blocking: type, waiting: type) -> None:
    for name in offered(blocking):
        assert inspect.getdoc(getattr(blocking, name)) == inspect.getdoc(getattr(waiting, name))


def test_importing_the_package_loads_nothing_else() -> None:
    source = f"import konsul.client, sys; print([m for m in {NEVER_EARLY} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    import konsul.client

    for name in konsul.client.MODULE_OF:
        assert getattr(konsul.client, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute"):
        konsul.client.nothing  # noqa: B018
