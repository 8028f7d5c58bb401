"""TLS of checks: one context per way to verify, for reading the system's authorities costs tens of ms."""

from __future__ import annotations

import ssl


class Contexts:
    """`ca_file` empty: the system's authorities. Raises OSError or ssl.SSLError when it cannot be read."""

    def __init__(self, ca_file: str = "") -> None:
        self._ca_file = ca_file
        self._made: dict[tuple[bool, bool], ssl.SSLContext] = {}

    def of(self, *, is_verified: bool, is_h2: bool = False) -> ssl.SSLContext:
        """The context; `is_h2` offers HTTP/2 by ALPN, which gRPC needs."""
        found = self._made.get((is_verified, is_h2))
        if found is None:
            found = ssl.create_default_context(cafile=self._ca_file or None)
            if not is_verified:
                # The check says so: it asks whether the target serves, not who it is.
                found.check_hostname = False
                found.verify_mode = ssl.CERT_NONE
            if is_h2:
                found.set_alpn_protocols(["h2"])
            self._made[is_verified, is_h2] = found
        return found
