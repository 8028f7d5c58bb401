"""`matches`: regular expressions whose time is linear in what they look at, whatever they say (RE2)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

PATTERN_MAX_BYTES: Final = 512
MEMORY_MAX_BYTES: Final = 256 * 1_024
"""What one pattern may hold; one that would need more is refused, and its table of states is dropped."""


@cache
def _options() -> Any:
    import re2

    options = re2.Options()
    options.max_mem = MEMORY_MAX_BYTES
    options.log_errors = False
    return options


def compile_pattern(pattern: str) -> Any:
    """The compiled pattern, with the methods of `re.Pattern`.

    Raises:
        ValueError: it is none, or too large; with words.
    """
    # Loaded here: a node whose filters have no patterns does without its megabytes.
    import re2

    if len(pattern.encode()) > PATTERN_MAX_BYTES:
        raise ValueError(f"expected a pattern of at most {PATTERN_MAX_BYTES} bytes")
    try:
        return re2.compile(pattern, _options())
    except re2.error as error:
        (found,) = error.args or ("",)
        said = found.decode(errors="replace") if isinstance(found, bytes) else str(found)
        raise ValueError(f"expected a regular expression (RE2): {said}") from None


def searching(pattern: str) -> Callable[[str], bool]:
    """Whether a text holds what the pattern describes, anywhere. Raises as `compile_pattern`."""
    search = compile_pattern(pattern).search
    return lambda text: search(text) is not None
