"""The version handshake with the native core, at import."""

from __future__ import annotations

from importlib.metadata import version


def shake_hands(found_version: str, found_abi: int, abi: int) -> None:
    """Refuses a core built for another stub or another version of this package.

    Raises:
        ImportError: with both numbers and what to do about it.
    """
    wanted = version("konsul")
    if (found_version, found_abi) != (wanted, abi):
        raise ImportError(
            f"konsul {wanted} (interface {abi}) found a native core {found_version} (interface {found_abi}): "
            "reinstall the package so that both come from one build"
        )
