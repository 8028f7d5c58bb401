"""The ACL feature, declared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from konsul.engine import Access
from konsul.features.acl import book, commands, guard, queries, routes, tables
from konsul.features.acl.metrics import METRICS
from konsul.features.acl.services import Policies
from konsul.kernel.feature import Feature
from konsul.kernel.guard_settings import GuardSettings

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

DIRECTORY_SETTING = "KONSUL_ACL_POLICY_DIR"


def install(kernel: Kernel) -> None:
    """While the ACL is on: policies decide what every identity may do and see."""
    settings = kernel.config.of(GuardSettings)
    if not settings.acl_enabled:
        return
    default_allow = settings.acl_default_policy == "allow"
    access = kernel.access = Access()
    policies = book.PolicyBook(
        kernel.engine,
        access,
        settings.acl_policy_dir,
        default_allow=default_allow,
        expected=DIRECTORY_SETTING in kernel.config.sources,
    )
    deciding = guard.Guard(access, requires_auth=settings.requires_auth, default_allow=default_allow)
    book.keep(kernel.engine, policies)
    guard.keep(kernel.engine, deciding)
    kernel.pipeline.authorise = deciding.authorise
    kernel.pipeline.visible = deciding.visible


feature = Feature(
    name="acl",
    tables=(tables.PolicyRow,),
    commands=(commands.create, commands.update, commands.delete),
    queries=(
        queries.list_,
        queries.read,
        queries.test,
        queries.validate,
        queries.explain,
        queries.explain_own,
    ),
    router=routes.router,
    services=(Policies,),
    metrics=METRICS,
    install=install,
)
