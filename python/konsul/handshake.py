"""The version handshake with the native core, at import."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

_ABI: Final = 4
"""The meaning of `_core.pyi` that `konsul.engine` was written for."""


def shake_hands(found_version: str, found_abi: int) -> None:
    """Refuses a core built for another stub or another version of this package.

    Raises:
        ImportError: with both numbers and what to do about it.
    """
    wanted = version("konsul")
    if (found_version, found_abi) != (wanted, _ABI):
        found = f"{found_version} (interface {found_abi})"
        raise ImportError(
            f"konsul {wanted} (interface {_ABI}) found a native core {found}: reinstall the package so that "
            "both come from one build"
        )
