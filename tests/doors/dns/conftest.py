"""One server that answers DNS for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.doors.dns.asking import Asker, asking


@pytest.fixture(scope="module")
def asker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    with asking(tmp_path_factory.mktemp("dns")) as found:
        yield found
