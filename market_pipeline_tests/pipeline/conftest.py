"""The source of prices for the tests of the use cases."""

from collections.abc import Iterator

import pytest

from market_pipeline_tests.prices.source import Source


@pytest.fixture(scope="module")
def running_source() -> Iterator[Source]:
    """One server for the tests of a module."""
    source = Source()
    with source.simulator:
        yield source


@pytest.fixture
def source(running_source: Source) -> Source:
    """A source as it is at first."""
    running_source.reset()
    return running_source
