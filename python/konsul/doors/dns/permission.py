"""Whether DNS may tell something. Nobody brings credentials here: policies speak for all who ask."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from konsul.doors.dns import wire
from konsul.doors.dns.found import Found
from konsul.errors import Forbidden, Unauthenticated
from konsul.kernel.dns_settings import DnsSettings
from konsul.kernel.guard_settings import GuardSettings
from konsul.kernel.logging import logger
from konsul.kernel.pipeline import ANONYMOUS, Identity

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

KIND: Final = "dns"
"""The kind of identity that everybody has who asks here."""
ACTION: Final = "service.resolve"
"""What a refused question is called in the audit log."""


class Permission:
    """Decides for every answer, also for one from the cache: a policy that is taken away holds at once."""

    def __init__(self, kernel: Kernel, settings: DnsSettings) -> None:
        guard = kernel.config.of(GuardSettings)
        self._pipeline = kernel.pipeline
        self.identity: Identity = ANONYMOUS
        self.closed = ""
        """Why nothing at all is told; empty if something may be."""
        if settings.policies and guard.acl_enabled:
            policies = tuple(sorted(set(settings.policies)))
            self.identity = Identity(KIND, name=KIND, policies=policies, method=KIND)
            if kernel.access is not None:
                self.identity = replace(self.identity, grant=kernel.access.grant(policies))
        elif guard.requires_auth:
            self.closed = "credentials are required, and KONSUL_DNS_POLICIES names no policy"

    def announce(self) -> None:
        """Says at the start what nobody would find out from the answers."""
        if self.closed:
            logger().warning(f"dns tells nothing: {self.closed}")

    def ask(self, found: Found) -> None:
        """Returns if it may be told.

        Raises:
            Forbidden, Unauthenticated.
        """
        authorise = self._pipeline.authorise
        if authorise is None:
            return
        for needs, resource in found.shows:
            authorise(self.identity, needs, resource)

    def allows(self, found: Found) -> bool:
        """As `ask`, without a word."""
        if self._pipeline.authorise is None:
            return True
        try:
            self.ask(found)
        except (Forbidden, Unauthenticated):
            return False
        return not self.closed

    def record(self, query: wire.Query, address: str, why: str) -> None:
        """Tells the audit of a question that was refused."""
        audit = self._pipeline.audit
        if audit is None:
            return
        name = b".".join(query.labels)
        began_ns = time.perf_counter_ns()
        audit.record(
            self.identity,
            address,
            ACTION,
            [name.decode("ascii", "replace")],
            "denied",
            why,
            method="GET",
            path=b"/" + name,
            status=403,
            took_ns=time.perf_counter_ns() - began_ns,
            request_id=b"",
        )
