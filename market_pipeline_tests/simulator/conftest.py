"""A simulator on a real socket with a clock that the test moves, and a client for it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timezone
from typing import Any

import pytest

from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline_tests.simulator.client import Client, MovableClock

NOON = datetime(2026, 11, 23, 12, 0, 30, tzinfo=timezone.utc)


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock(NOON)


@pytest.fixture(scope="session")
def market() -> MarketModel:
    """One market for all tests: prices are a function of time, so sharing it shares only warmth."""
    return MarketModel()


@pytest.fixture
def serve(clock: MovableClock, market: MarketModel) -> Iterator[Callable[..., Client]]:
    """Starts simulators; they and their clients end with the test."""
    with ExitStack() as stack:

        def start(**settings: Any) -> Client:
            simulator = Simulator(settings.pop("feed", market), clock=clock, **settings)
            client = Client(stack.enter_context(simulator))
            stack.enter_context(client.session)
            return client

        yield start


@pytest.fixture
def client(serve: Callable[..., Client]) -> Client:
    """A client of a keyless simulator without a limit."""
    return serve()
