"""One attempt of a check of whatever type: bounded in time, and an outcome whatever goes wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from konsul.features.catalog.tables import CRITICAL
from konsul.features.checks.definition import Definition
from konsul.features.checks.guard import Refused, Targets
from konsul.features.checks.outcome import Outcome, bounded, took
from konsul.features.checks.scripts import NotAllowed, Scripts
from konsul.kernel.logging import logger

if TYPE_CHECKING:
    from konsul.features.checks.config import CheckSettings
    from konsul.features.checks.connections import Connections
    from konsul.features.checks.guard import Resolver

Attempt = Callable[[Definition], Awaitable[Outcome]]
_WHAT: Final = {
    "http": "HTTP request",
    "tcp": "TCP connection",
    "udp": "UDP datagram",
    "grpc": "gRPC call",
    "script": "Script",
    "alias": "Alias",
}


class Executors:
    """Runs attempts. What a type needs is made, and imported, when the first check of it comes."""

    def __init__(self, settings: CheckSettings, alias: Attempt, resolver: Resolver | None = None) -> None:
        self._settings = settings
        guard = settings.guard()
        self._targets = Targets(guard) if resolver is None else Targets(guard, resolver)
        self._connections: Connections | None = None
        self._attempts: dict[str, Attempt] = {"alias": alias}

    async def run(self, check: Definition) -> Outcome:
        """One attempt. Never raises but when it is cancelled."""
        began_s = time.perf_counter()
        try:
            async with asyncio.timeout(check.timeout_s):
                found = await self._attempt(check.type)(check)
        except TimeoutError:
            return self._failed(check, began_s, "timeout")
        except (Refused, NotAllowed) as error:
            return self._failed(check, began_s, f"refused: {error}")
        except OSError as error:
            # A name that has no address is an OSError too, and its text stands where others' does.
            return self._failed(check, began_s, error.strerror or str(error) or type(error).__name__)
        except ValueError as error:
            return self._failed(check, began_s, str(error))
        except Exception as error:
            logger().exception("a check failed here", type=check.type)
            return self._failed(check, began_s, f"internal error: {type(error).__name__}")
        if found.output != found.said or check.type in ("alias", "script"):
            return found
        spent_s = time.perf_counter() - began_s
        return Outcome(found.status, bounded(f"{found.said} ({spent_s:.3f}s)"), found.said)

    def sweep(self) -> None:
        """Closes connections nobody used for a while."""
        if self._connections is not None:
            self._connections.sweep()

    def close(self) -> None:
        """Ends what is kept."""
        self._targets.close()
        if self._connections is not None:
            self._connections.close()

    def _failed(self, check: Definition, began_s: float, why: str) -> Outcome:
        what = _WHAT.get(check.type, "Check")
        after = took(time.perf_counter() - began_s)
        return Outcome(CRITICAL, bounded(f"{what} failed after {after}: {why}"), bounded(f"{what}: {why}"))

    def _attempt(self, kind: str) -> Attempt:
        found = self._attempts.get(kind)
        if found is None:
            found = self._attempts[kind] = self._made(kind)
        return found

    def _made(self, kind: str) -> Attempt:
        settings = self._settings
        if kind == "http":
            from konsul.features.checks.connections import Connections
            from konsul.features.checks.http_check import HttpChecks
            from konsul.features.checks.tls import Contexts

            self._connections = Connections(settings.idle_connections_max)
            return HttpChecks(
                self._targets,
                Contexts(settings.tls_ca_file),
                self._connections,
                redirects_max=settings.redirects_max,
                body_max=settings.body_max_bytes,
            ).run
        if kind == "grpc":
            from konsul.features.checks.grpc_check import GrpcChecks
            from konsul.features.checks.tls import Contexts

            return GrpcChecks(self._targets, Contexts(settings.tls_ca_file)).run
        if kind == "script":
            return Scripts(settings.script_directory()).run
        if kind in ("tcp", "udp"):
            from konsul.features.checks.sockets import SocketChecks

            sockets = SocketChecks(self._targets)
            return sockets.tcp if kind == "tcp" else sockets.udp
        raise ValueError(f"this node cannot run checks of type {kind!r}")
