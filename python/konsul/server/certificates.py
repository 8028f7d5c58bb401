"""The certificate that clients are shown: checked at the start, taken anew when its files change, watched to
its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from konsul.engine import HttpTls
from konsul.errors import StartFailed
from konsul.kernel.address import is_unspecified, split_address
from konsul.kernel.cluster_settings import ClusterSettings
from konsul.kernel.config import Config
from konsul.kernel.logging import logger
from konsul.kernel.settings import HttpSettings
from konsul.kernel.tls_settings import TlsSettings

LOOK_S: Final = 5.0
WARN_DAYS: Final = (30, 7, 1)
_DAY_S: Final = 86_400
_FILE_MAX_BYTES: Final = 1 << 20
Stamp = tuple[tuple[int, int, int], ...]
Use = Callable[[HttpTls], None]


def certificates(config: Config, folder: Path) -> Certificates | None:
    """What the node shows its clients, or None without TLS. `folder`: for a certificate of its own.

    Raises:
        StartFailed: see `Certificates`.
    """
    settings = config.of(TlsSettings)
    if not settings.enabled:
        return None
    http, cluster = config.of(HttpSettings), config.of(ClusterSettings)
    hosts = [http.host] if http.host and not is_unspecified(http.host) else []
    if cluster.http_advertise_addr:
        hosts.append(split_address(cluster.http_advertise_addr)[0])
    return Certificates(settings, folder, hosts)


class Certificates:
    """One set of files. `native` is in use."""

    def __init__(self, settings: TlsSettings, folder: Path, hosts: Iterable[str]) -> None:
        """`folder`: for a certificate of the server's own; `hosts`: what that must hold.

        Raises:
            StartFailed: a file cannot be read or used; says which and why.
        """
        self._settings, self._folder, self._hosts = settings, folder, tuple(hosts)
        self._cert, self._key = Path(settings.cert_file), Path(settings.key_file)
        self.counts = {"renewed": 0, "refused": 0}
        self._make()
        self._in_use = self._seen = self._stamp()
        self._warned: int | None = None
        self.native, self.ends_at_s = self._load()
        self._announce()

    async def run(self, use: Use) -> None:
        """Looks until it is cancelled; `use` is given what is new."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.look(use)

    def look(self, use: Use) -> None:
        """One look. Files that are being written are left until the next: they may not fit each other yet."""
        now = self._stamp()
        is_settled, self._seen = now == self._seen, now
        if (now != self._in_use and is_settled) or (self._settings.auto_cert and self._made_anew()):
            self.reload(use)
        self._warn()

    def reload(self, use: Use) -> None:
        """Reads the files now. What cannot be used changes nothing; it is logged and counted."""
        # Also after a refusal: the same files would be refused again.
        self._in_use = self._seen = self._stamp()
        log = logger()
        try:
            self.native, self.ends_at_s = self._load()
        except StartFailed as error:
            self.counts["refused"] += 1
            log.error("the new certificate cannot be used, the old one stays", why=str(error))
            return
        self.counts["renewed"] += 1
        self._warned = None
        use(self.native)
        log.info("certificate renewed", file=str(self._cert), left_days=self.left_s() // _DAY_S)
        self._warn()

    def left_s(self) -> int:
        """How long the certificate is still good for; negative once it is over."""
        return int(self.ends_at_s - time.time())

    def _announce(self) -> None:
        settings, log = self._settings, logger()
        log.info(
            "tls",
            certificate=str(self._cert),
            left_days=self.left_s() // _DAY_S,
            min_version=settings.min_version,
            client_auth=settings.client_auth,
            http2=True,
        )
        if settings.auto_cert:
            log.warning(
                "THE CERTIFICATE IS SIGNED BY THIS SERVER ITSELF: clients cannot know whom they reach; for "
                "development only",
                certificate=str(self._cert),
            )
            if settings.cert_file or settings.key_file:
                log.warning(
                    "KONSUL_TLS_CERT_FILE and KONSUL_TLS_KEY_FILE are not read: KONSUL_TLS_AUTO_CERT is on"
                )
        self._warn_of_rights()
        self._warn()

    def _warn_of_rights(self) -> None:
        try:
            mode = self._key.stat().st_mode
        except OSError:
            return
        if mode & 0o007:
            logger().warning("everybody on this machine can read the certificate's key", key=str(self._key))

    def _warn(self) -> None:
        """Once per threshold that is passed."""
        left = self.left_s()
        passed = [days for days in WARN_DAYS if left < days * _DAY_S]
        nearest = min(passed, default=None)
        if nearest is None or (self._warned is not None and nearest >= self._warned):
            return
        self._warned = nearest
        said = "the certificate has expired" if left <= 0 else "the certificate expires soon"
        logger().warning(said, certificate=str(self._cert), left_days=left // _DAY_S)

    def _make(self) -> bool:
        if not self._settings.auto_cert:
            return False
        from konsul.server import auto_certificate

        self._cert, self._key, is_new = auto_certificate.ensure(self._folder, self._hosts)
        return is_new

    def _made_anew(self) -> bool:
        """Whether the server's own certificate was near its end and is a new one now."""
        if self.left_s() > WARN_DAYS[0] * _DAY_S:
            return False
        try:
            return self._make()
        except StartFailed as error:
            logger().error("the certificate is not renewed", why=str(error))
            return False

    def _load(self) -> tuple[HttpTls, float]:
        settings = self._settings
        cert = _read("KONSUL_TLS_CERT_FILE", self._cert)
        key = _read("KONSUL_TLS_KEY_FILE", self._key)
        asks = settings.client_auth != "off"
        client_ca = _read("KONSUL_TLS_CLIENT_CA_FILE", Path(settings.client_ca_file)) if asks else b""
        try:
            native = HttpTls(
                cert=cert,
                key=key,
                client_ca=client_ca,
                client_auth=settings.client_auth,
                only_13=settings.min_version == "1.3",
                ciphers=list(settings.ciphers),
            )
        except ValueError as error:
            raise StartFailed(f"TLS cannot be used with {self._cert} and {self._key}: {error}") from None
        return native, self._end(cert)

    def _end(self, cert: bytes) -> float:
        from cryptography import x509

        try:
            found = x509.load_pem_x509_certificate(cert)
        except ValueError:
            raise StartFailed(f"{self._cert} holds no certificate that can be read") from None
        until, now_s = found.not_valid_after_utc, time.time()
        if until.timestamp() <= now_s:
            raise StartFailed(f"the certificate {self._cert} expired on {until:%Y-%m-%d}: renew it")
        if found.not_valid_before_utc.timestamp() > now_s:
            since = found.not_valid_before_utc
            logger().warning(f"the certificate {self._cert} is valid from {since:%Y-%m-%d %H:%M} UTC only")
        return until.timestamp()

    def _stamp(self) -> Stamp:
        found = []
        for path in (self._cert, self._key, Path(self._settings.client_ca_file or self._cert)):
            try:
                stat = path.stat()
            except OSError:
                # Gone for a moment while it is replaced.
                continue
            found.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
        return tuple(found)


def _read(name: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_MAX_BYTES + 1)
    except OSError as error:
        raise StartFailed(f"{name} {path} cannot be read: {error.strerror}") from None
    if len(content) > _FILE_MAX_BYTES:
        raise StartFailed(f"{name} {path} is over {_FILE_MAX_BYTES} bytes: that is no certificate or key")
    return content
