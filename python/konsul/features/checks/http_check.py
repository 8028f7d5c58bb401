"""HTTP checks: a request to an address the guard chose, redirects one by one, and what the answer means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urljoin, urlsplit

from konsul.features.catalog.tables import CRITICAL, PASSING, WARNING
from konsul.features.checks.connections import Broken, Connections, Origin, Reply
from konsul.features.checks.definition import Definition
from konsul.features.checks.outcome import Outcome, outcome
from konsul.features.checks.patterns import holds

if TYPE_CHECKING:
    from konsul.features.checks.guard import Targets
    from konsul.features.checks.tls import Contexts

AGENT: Final = "Konsul-Health-Check/1.0"
_SEEN_CHARS: Final = 200
"""Of the body of an answer that is not what was expected, for whoever has to find out why."""
_REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
_SECRET: Final = frozenset(("authorization", "cookie", "proxy-authorization", "x-api-key"))
"""Not sent on to another origin than the one they were given for."""
_TOO_MANY: Final = 429


class HttpChecks:
    """Runs them. `body_max`: bytes of an answer that a pattern may look at."""

    def __init__(
        self,
        targets: Targets,
        contexts: Contexts,
        connections: Connections,
        *,
        redirects_max: int,
        body_max: int,
    ) -> None:
        self._targets, self._contexts, self._connections = targets, contexts, connections
        self._redirects_max, self._body_max = redirects_max, body_max

    async def run(self, check: Definition) -> Outcome:
        """One attempt.

        Raises:
            OSError, ssl.SSLError: no answer. Refused: the guard's. ValueError: URL or header will not do.
        """
        url, method, body, redirects = check.http, check.method, check.body.encode(), 0
        headers = dict(check.headers)
        while True:
            reply = await self._ask(check, url, method, headers, body)
            location = reply.header(b"location")
            is_wanted = _is_in(reply.status, check.expected_status)
            if reply.status not in _REDIRECTS or not location or is_wanted:
                return _verdict(check, reply)
            if redirects >= self._redirects_max:
                return outcome(WARNING, f"HTTP {reply.status}: more than {self._redirects_max} redirects")
            redirects += 1
            target = urljoin(url, location)
            if _origin_of(urlsplit(target)) != _origin_of(urlsplit(url)):
                headers = {name: text for name, text in headers.items() if name.lower() not in _SECRET}
                headers = {name: text for name, text in headers.items() if name.lower() != "host"}
            if reply.status == 303 or (reply.status in (301, 302) and method == "POST"):
                method, body = ("HEAD" if method == "HEAD" else "GET"), b""
            url = target

    async def _ask(
        self, check: Definition, url: str, method: str, headers: dict[str, str], body: bytes
    ) -> Reply:
        parts = urlsplit(url)
        scheme, host, port = _origin_of(parts)
        if scheme not in ("http", "https") or not host:
            raise ValueError(f"{scheme or 'this'} is no scheme that checks may use, or the URL has no host")
        addresses = await self._targets.of(host)
        is_tls = scheme == "https"
        name = (check.tls_server_name or host) if is_tls else ""
        wanted = self._body_max if check.expected_body else _SEEN_CHARS
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = _lines(headers, parts, body)
        failure: OSError | None = None
        for address in addresses:
            origin = Origin(address, port, name, not check.tls_skip_verify)
            try:
                return await self._exchange(origin, method, path, lines, body, wanted)
            except OSError as error:
                failure = error
        raise failure or Broken("the name has no address")

    async def _exchange(
        self, origin: Origin, method: str, path: str, lines: list[tuple[str, str]], body: bytes, wanted: int
    ) -> Reply:
        connections = self._connections
        while True:
            connection = connections.take(origin)
            if connection is None:
                context = self._contexts.of(is_verified=origin.is_verified) if origin.server_name else None
                connection = await connections.open(origin, context)
            is_fresh = connection.is_fresh
            try:
                reply = await connection.exchange(method, path, lines, body, wanted)
            except Broken:
                connection.close()
                # The target may close an idle connection at any time: that says nothing of its health.
                if is_fresh:
                    raise
                continue
            except BaseException:
                connection.close()
                raise
            connections.give(origin, connection)
            return reply


def _origin_of(parts: SplitResult) -> tuple[str, str, int]:
    """Scheme, host and port. Raises ValueError for a port that is none."""
    scheme = parts.scheme.lower()
    return scheme, parts.hostname or "", parts.port or (443 if scheme == "https" else 80)


def _lines(headers: dict[str, str], parts: SplitResult, body: bytes) -> list[tuple[str, str]]:
    given = {name.lower() for name in headers}
    lines = list(headers.items())
    if "host" not in given:
        # Not the address: name-based hosts answer by the name. User information stays out of it.
        lines.insert(0, ("Host", parts.netloc.rpartition("@")[2]))
    if "user-agent" not in given:
        lines.append(("User-Agent", AGENT))
    if "accept" not in given:
        lines.append(("Accept", "*/*"))
    if body and "content-length" not in given:
        lines.append(("Content-Length", str(len(body))))
    return lines


def _is_in(status: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(low <= status <= high for low, high in ranges)


def _status_of(check: Definition, status: int) -> str:
    if check.expected_status:
        return PASSING if _is_in(status, check.expected_status) else CRITICAL
    if 200 <= status < 300:
        return PASSING
    # Too many requests is a target that serves and asks for less, as in Consul.
    return WARNING if 300 <= status < 400 or status == _TOO_MANY else CRITICAL


def _verdict(check: Definition, reply: Reply) -> Outcome:
    status = _status_of(check, reply.status)
    said = f"HTTP {reply.status} {reply.status} {reply.reason}".rstrip()
    if status != CRITICAL and check.expected_body and not holds(check.expected_body, reply.body):
        return outcome(CRITICAL, f"{said}: the body does not match {check.expected_body}")
    if status == PASSING:
        return outcome(status, said)
    seen = reply.body[:_SEEN_CHARS].decode("utf-8", "replace").strip()
    return outcome(status, said, f"{seen}" if seen else "")
