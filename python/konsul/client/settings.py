"""Where the server is and how to speak to it: one frozen value both clients take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from konsul import __version__
from konsul.client.exchange import Policy
from konsul.errors import Invalid

ADDRESS = "http://localhost:8888"


@dataclass(frozen=True, slots=True)
class Observation:
    """One attempt on the wire, for load tests and metrics. `error` is empty for an answer below 400."""

    route: str
    status: int
    elapsed_s: float
    body_bytes: int
    error: str


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a client. Files are PEM; `client_cert` and `client_key` come together or not at all.

    `address`: one server, or several of one cluster with commas between; the next is asked when one does not
    help. `redirect_to`: servers that may be redirected to besides those. `idempotent`: writes carry an
    Idempotency-Key, so that the server applies a repeated one once. `read_your_writes`: a read waits until
    the server asked has seen what this client has. `watch_silence_s`: a stream on which nothing came for so
    long, not even a heartbeat, is made anew. `consistency` and `max_stale`: of reads that say nothing.

    Raises Invalid for an address that is no http(s) URL and for half a client certificate.
    """

    address: str = ADDRESS
    token: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    ca_cert: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    tls_verify: bool = True
    policy: Policy = field(default_factory=Policy)
    connect_timeout_s: float = 5.0
    connections_max: int = 16
    idle_connections_max: int = 16
    page_size: int = 1000
    redirect_to: tuple[str, ...] = ()
    idempotent: bool = True
    read_your_writes: bool = False
    watch_silence_s: float = 90.0
    consistency: str | None = None
    max_stale: str | None = None
    addresses: tuple[str, ...] = field(init=False, repr=False)
    """Every server of `address`, completed. `address` itself becomes the first."""
    token_source: Callable[[], str] | None = field(default=None, repr=False, compare=False)
    """Asked for the bearer token whenever something is sent, in place of `token`: for tokens that run out. Of
    an asyncio client it must not wait."""
    observe: Callable[[Observation], None] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        addresses = tuple(dict.fromkeys(_completed(one.strip()) for one in self.address.split(",")))
        object.__setattr__(self, "redirect_to", tuple(_completed(one) for one in self.redirect_to))
        if bool(self.client_cert) != bool(self.client_key):
            raise Invalid("client certificate and client key must be given together")
        object.__setattr__(self, "address", addresses[0])
        object.__setattr__(self, "addresses", addresses)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of every request."""
        headers = {"User-Agent": f"konsul-client/{__version__}", "Accept": "application/json"}
        token = self.token if self.token_source is None else self.token_source()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if self.api_key:
            headers["X-API-Key"] = self.api_key
        return headers


def _completed(given: str) -> str:
    """An address as a URL without a slash at its end."""
    address = given if "://" in given else f"http://{given}"
    try:
        url = urlsplit(address)
    except ValueError:  # brackets that are no IPv6 address, for one
        raise Invalid(f"server address {given!r} is not an http:// or https:// URL") from None
    try:
        url.port  # noqa: B018 - the property checks
    except ValueError:
        raise Invalid(f"server address {given!r} has no port from 0 to 65535") from None
    if url.scheme not in ("http", "https") or not url.hostname:
        raise Invalid(f"server address {given!r} is not an http:// or https:// URL")
    return address.rstrip("/")
