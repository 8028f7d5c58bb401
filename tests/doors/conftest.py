"""What the stories over HTTP share."""

from __future__ import annotations

from uuid import uuid4

import pytest


@pytest.fixture
def space() -> str:
    """A beginning of keys and names that no other test has; itself a possible key and service name."""
    return f"t-{uuid4().hex[:12]}"
