"""Settings of TLS towards clients: which certificate they are shown, and which one they have to show."""

from __future__ import annotations

from typing import Final, Literal

from konsul.kernel.config import Settings, between, setting
from konsul.kernel.values import BOOL, DURATION_MS, INT, LIST, TEXT, one_of

_DAY_MS: Final = 86_400_000


class TlsSettings(Settings):
    """HTTPS in place of HTTP on the node's port."""

    enabled: bool = setting(
        "KONSUL_TLS_ENABLED",
        BOOL,
        default=False,
        doc="HTTPS, with HTTP/2, in place of HTTP. Needs a certificate and its key, or "
        "`KONSUL_TLS_AUTO_CERT`.",
    )
    cert_file: str = setting(
        "KONSUL_TLS_CERT_FILE", TEXT, default="", doc="The server's certificate and those between, PEM."
    )
    key_file: str = setting("KONSUL_TLS_KEY_FILE", TEXT, default="", doc="Its private key, PEM.")
    auto_cert: bool = setting(
        "KONSUL_TLS_AUTO_CERT",
        BOOL,
        default=False,
        doc="For development: the server makes a certificate of its own, `tls/server.crt` in the data "
        "directory, and renews it. The two files above are not read then.",
    )
    min_version: Literal["1.2", "1.3"] = setting(
        "KONSUL_TLS_MIN_VERSION",
        one_of("1.2", "1.3"),
        default="1.2",
        doc="The oldest version of TLS that is spoken.",
    )
    ciphers: tuple[str, ...] = setting(
        "KONSUL_TLS_CIPHERS",
        LIST,
        default=(),
        doc="Cipher suites that may be used, best first, by IANA names. Unset: all this server has; they are "
        "safe.",
    )
    client_ca_file: str = setting(
        "KONSUL_TLS_CLIENT_CA_FILE", TEXT, default="", doc="Who signs the certificates of clients, PEM."
    )
    client_auth: Literal["off", "optional", "required"] = setting(
        "KONSUL_TLS_CLIENT_AUTH",
        one_of("off", "optional", "required"),
        default="off",
        doc="Whether clients are asked for a certificate. `required`: nobody gets in without one.",
    )
    client_identity: Literal["none", "user"] = setting(
        "KONSUL_TLS_CLIENT_IDENTITY",
        one_of("none", "user"),
        default="none",
        doc="What a client's certificate says. `user`: its common name is a user's id; no token is needed.",
    )
    hsts_max_age_ms: int = setting(
        "KONSUL_TLS_HSTS_MAX_AGE",
        DURATION_MS,
        default=0,
        doc="Tells browsers for how long to come back by HTTPS only (`Strict-Transport-Security`); 0: not.",
        check=between(0, 3_650 * _DAY_MS, "0 to 87600h"),
    )
    handshake_timeout_ms: int = setting(
        "KONSUL_TLS_HANDSHAKE_TIMEOUT",
        DURATION_MS,
        default=10_000,
        doc="Time a client gets for the TLS handshake.",
        check=between(1, _DAY_MS, "1ms to 24h"),
    )
    handshakes_max: int = setting(
        "KONSUL_TLS_MAX_HANDSHAKES",
        INT,
        default=1_000,
        doc="Handshakes in flight at once; with one more the oldest of them is given up.",
        check=between(1, 100_000),
    )

    @property
    def scheme(self) -> Literal["http", "https"]:
        """How the node's address begins."""
        return "https" if self.enabled else "http"

    def answer_headers(self) -> list[tuple[bytes, bytes]]:
        """What every answer carries because of TLS."""
        if not (self.enabled and self.hsts_max_age_ms):
            return []
        return [(b"strict-transport-security", b"max-age=%d" % (self.hsts_max_age_ms // 1_000))]

    def problem(self) -> str | None:
        """Protections that would not protect stop the start, as halves do."""
        if self.client_auth == "off":
            needless = (
                ("KONSUL_TLS_CLIENT_CA_FILE is set", bool(self.client_ca_file)),
                ("KONSUL_TLS_CLIENT_IDENTITY is user", self.client_identity == "user"),
            )
            said = next((text for text, is_said in needless if is_said), None)
            if said is not None:
                return f"{said}, but nobody would be asked for a certificate: set KONSUL_TLS_CLIENT_AUTH"
        elif not self.client_ca_file:
            return f"KONSUL_TLS_CLIENT_AUTH is {self.client_auth}: expected a KONSUL_TLS_CLIENT_CA_FILE"
        if not self.enabled:
            asked = "KONSUL_TLS_AUTO_CERT" if self.auto_cert else "KONSUL_TLS_CLIENT_AUTH"
            if self.auto_cert or self.client_auth != "off":
                return f"{asked} is set, but nothing is encrypted: set KONSUL_TLS_ENABLED=true"
            return None
        if self.auto_cert or (self.cert_file and self.key_file):
            return None
        missing = "KONSUL_TLS_KEY_FILE" if self.cert_file else "KONSUL_TLS_CERT_FILE"
        return (
            f"{missing} is empty: KONSUL_TLS_ENABLED needs KONSUL_TLS_CERT_FILE and KONSUL_TLS_KEY_FILE, or "
            "KONSUL_TLS_AUTO_CERT=true for development"
        )
