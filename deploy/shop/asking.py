"""What a client of the shop asks Konsul: its load balancer, its DNS, its health."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rdatatype
import httpx

from konsul.client import Client
from konsul.errors import NotFound

TIMEOUT_S = 10.0
UDP_TIMEOUT_S = 3.0
WITHIN_S = 60.0
POLL_S = 0.1


class Failed(Exception):
    """The shop is not as it should be; the text says how."""


class Asking:
    """Asks the Konsul at `url`, and its DNS at `(host, port)`."""

    def __init__(self, url: str, dns_address: tuple[str, int], domain: str) -> None:
        self.client = Client(url)
        self.http = httpx.Client(timeout=TIMEOUT_S, trust_env=False)
        """For the shop's own servers."""
        self._dns = dns_address
        self._domain = domain

    def close(self) -> None:
        """Ends the connections."""
        self.http.close()
        self.client.close()

    def chosen(self, service: str, *, strategy: str | None = None, zone: str | None = None) -> str | None:
        """Which instance the load balancer gives; None when no instance can serve."""
        try:
            return self.client.lb.select(service, strategy=strategy, zone=zone).service.instance
        except NotFound:
            return None

    def rule(self, service: str, rules: Mapping[str, Any] | None) -> None:
        """Says how a service is balanced; None: as the node does."""
        if rules is not None:
            self.client.lb.set_rules(service, rules)
            return
        with suppress(NotFound):
            self.client.lb.delete_rules(service)

    def srv(self, service: str) -> dict[int, int]:
        """Port -> weight of the instances that DNS gives for a service."""
        name = f"{service}.service.{self._domain}."
        question = dns.message.make_query(name, dns.rdatatype.SRV)
        host, port = self._dns
        try:
            answer = self._asked(question)
        except (dns.exception.DNSException, OSError) as error:
            raise Failed(f"DNS at {host} port {port}: {error}") from None
        return {one.port: one.weight for records in answer.answer for one in records if hasattr(one, "port")}

    def _asked(self, question: dns.message.Message) -> dns.message.Message:
        """Over UDP, and as every resolver does over TCP where that gives no whole answer."""
        host, port = self._dns
        with suppress(dns.exception.Timeout):
            answer = dns.query.udp(question, host, timeout=UDP_TIMEOUT_S, port=port)
            if not answer.flags & dns.flags.TC:
                return answer
        return dns.query.tcp(question, host, timeout=TIMEOUT_S, port=port)

    def health(self, service: str) -> dict[str, str]:
        """Instance -> health."""
        return {one.service.instance: one.health for one in self.client.services.instances(service)}


def until(holds: Callable[[], Any], what: str) -> None:
    """Returns when it holds. Raises Failed when it does not within a minute."""
    end_s = time.monotonic() + WITHIN_S
    while not holds():
        if time.monotonic() > end_s:
            raise Failed(f"{what}: not within {WITHIN_S:g} s")
        time.sleep(POLL_S)
