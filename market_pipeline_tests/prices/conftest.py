"""Property tests without deadline, and the source of prices."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from market_pipeline_tests.prices.source import Source

# How long an example takes depends on the machine.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="package")
def running_source() -> Iterator[Source]:
    """One server for all tests of the prices."""
    source = Source()
    with source.simulator:
        yield source


@pytest.fixture
def source(running_source: Source) -> Source:
    """A source as it is at first."""
    running_source.reset()
    return running_source
