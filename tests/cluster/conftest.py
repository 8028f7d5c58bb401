"""One cluster of three for all tests that leave it as they found it; the nodes' logs when a test fails."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.cluster.harness.cluster import Cluster


@pytest.fixture(scope="session")
def lasting_trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes that live as long as the tests of this room."""
    with Cluster(tmp_path_factory.mktemp("trio")) as cluster:
        yield cluster


@pytest.fixture
def trio(lasting_trio: Cluster) -> Cluster:
    """Three healthy nodes that hold the same; a test may hurt them, but keeps their number and settings."""
    lasting_trio.heal()
    return lasting_trio


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Cluster):
                report.sections.append(("the nodes' logs", value.logs()))
    return report
