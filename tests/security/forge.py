"""JSON Web Tokens (RFC 7515) as an attacker makes them: any header, any claims, any signature."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

Sign = Callable[[bytes], bytes]


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Header, claims and signature of a token."""
    header, claims, signature = token.split(".")
    return json.loads(unb64(header)), json.loads(unb64(claims)), unb64(signature)


def hs(secret: bytes, digest: str = "sha256") -> Sign:
    """Signs with a secret."""
    return lambda signed: hmac.new(secret, signed, digest).digest()


def unsigned(_signed: bytes) -> bytes:
    """No signature at all."""
    return b""


def assemble(header: Mapping[str, Any] | str, claims: Mapping[str, Any] | str, sign: Sign) -> str:
    """A token of these two objects, or of these two texts as they are."""
    texts = [part if isinstance(part, str) else json.dumps(part) for part in (header, claims)]
    signed = ".".join(b64(text.encode()) for text in texts)
    return f"{signed}.{b64(sign(signed.encode()))}"


class Forge:
    """Makes variants of a real access token. `secret`: the server's own, for tokens that are signed rightly
    and still wrong."""

    def __init__(self, token: str, secret: str) -> None:
        self.token = token
        self.header, self.claims, self.signature = parts(token)
        self.sign = hs(secret.encode())

    def claiming(self, **changed: Any) -> str:
        """Rightly signed, other claims; `...` leaves one out."""
        claims = {name: value for name, value in (self.claims | changed).items() if value is not ...}
        return assemble(self.header, claims, self.sign)

    def claiming_text(self, name: str, literal: str) -> str:
        """Rightly signed, one claim as this literal JSON text, which `json` itself would not write."""
        rest = {key: value for key, value in self.claims.items() if key != name}
        text = json.dumps(rest)[:-1] + f', "{name}": {literal}}}'
        return assemble(self.header, text, self.sign)

    def headed(self, sign: Sign | None = None, **changed: Any) -> str:
        """The same claims under another header; `...` leaves a member out."""
        header = {name: value for name, value in (self.header | changed).items() if value is not ...}
        return assemble(header, self.claims, sign or self.sign)


def now_s() -> int:
    return int(time.time())


def jwk_thumb(secret: bytes) -> str:
    """The key id that some servers give to a secret."""
    return hashlib.sha256(secret).hexdigest()
