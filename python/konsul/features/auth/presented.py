"""What a request's headers say before anything is believed."""

from __future__ import annotations

from typing import Literal, NamedTuple

from konsul.errors import Unauthenticated

WRONG_FORM = "invalid authorization header format"
_TOKEN_DOTS = 2


class Presented(NamedTuple):
    """A credential and what it claims to be."""

    kind: Literal["token", "key"]
    text: bytes


def presented(authorization: bytes) -> Presented:
    """Takes an `Authorization` header apart: `Bearer <token or key>` or `ApiKey <key>`, in just this case.

    Raises:
        Unauthenticated: it is of no such form.
    """
    scheme, space, text = authorization.partition(b" ")
    if not space or b" " in text or scheme not in (b"Bearer", b"ApiKey"):
        raise Unauthenticated(WRONG_FORM)
    if not text:
        raise Unauthenticated("token missing" if scheme == b"Bearer" else "missing API key")
    # A token has two dots (RFC 7515, 7.1), a key none.
    is_token = scheme == b"Bearer" and text.count(b".") == _TOKEN_DOTS
    return Presented("token" if is_token else "key", text)
