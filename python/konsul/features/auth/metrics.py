"""Logins, tokens, keys and what is remembered of callers; there while auth is on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family

from konsul.errors import NotFound
from konsul.features.auth.node import Auth, auth_of
from konsul.kernel.metrics import Metric, Source

_OF_KEYS: Final = ("missing API key", "API key expired", "API key disabled", "invalid API key")
_FAILED: Final = "API key validation failed"


class _Auth:
    """Read from the node's counts at each scrape."""

    def families(self, source: Source) -> Iterable[Family]:
        """Everything; nothing while auth is off."""
        try:
            auth = auth_of(source.engine)
        except NotFound:
            return
        yield from _logins(auth)
        yield from _credentials(auth, source)
        yield from _memory(auth)


def _logins(auth: Auth) -> Iterable[Family]:
    counts = auth.counts
    yield _counter("konsul_auth_attempts", "Logins by password.", "result", counts.logins)
    limited = auth.attempts.refused
    yield _counter(
        "konsul_auth_attempts_limited", "Logins refused because too many had failed.", "scope", limited
    )
    yield CounterMetricFamily(
        "konsul_auth_passwords_refused",
        "Logins refused because too many passwords waited to be checked.",
        value=auth.passwords.refused,
    )
    yield CounterMetricFamily(
        "konsul_auth_password_hashes",
        "Password hashes computed, to store or to compare.",
        value=auth.passwords.hashed,
    )
    yield _counter("konsul_jwt_token_generated", "Tokens issued.", "type", counts.issued)
    yield CounterMetricFamily(
        "konsul_jwt_token_refreshed", "Refresh tokens exchanged.", value=counts.refreshed
    )
    yield CounterMetricFamily(
        "konsul_auth_refresh_replays", "Spent refresh tokens that came again.", value=counts.replays
    )
    yield _counter(
        "konsul_auth_key_reloads", "Signing keys read again because they changed.", "result", counts.reloads
    )


def _credentials(auth: Auth, source: Source) -> Iterable[Family]:
    failures = dict(auth.identities.failures)
    keys = {reason: count for reason, count in failures.items() if reason in (*_OF_KEYS, _FAILED)}
    tokens = {reason: count for reason, count in failures.items() if reason not in keys}
    yield _counter("konsul_jwt_token_validation_errors", "Tokens that did not hold.", "reason", tokens)
    yield _counter("konsul_apikey_validation_errors", "API keys that did not hold.", "reason", keys)
    done = source.operations()
    for verb, text in (("create", "made"), ("revoke", "revoked")):
        yield CounterMetricFamily(
            f"konsul_apikey_{verb}d",
            f"API keys {text} through this node.",
            value=done.get((f"auth.apikey.{verb}", "success"), 0),
        )


def _memory(auth: Auth) -> Iterable[Family]:
    yield GaugeMetricFamily(
        "konsul_auth_identities_remembered",
        "Credentials whose owner is kept in memory.",
        value=auth.identities.entries(),
    )
    yield CounterMetricFamily(
        "konsul_auth_identities_verified",
        "Credentials that were not remembered and had to be verified.",
        value=auth.identities.misses,
    )


def _counter(name: str, text: str, label: str, counts: Mapping[str, int]) -> Family:
    family = CounterMetricFamily(name, text, labels=(label,))
    for value, count in sorted(counts.items()):
        family.add_metric((value,), count)
    return family


METRICS: Final[tuple[Metric, ...]] = (_Auth(),)
