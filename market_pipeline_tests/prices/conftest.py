"""Property tests that do not mind a busy machine, and a budget for tests that are not about it."""

import pytest
from hypothesis import HealthCheck, settings

from market_pipeline.budget.shared import SharedBudget
from market_pipeline.storage.engine import Database
from market_pipeline_tests.builders import generous_budget

# How long an example takes is the machine's business.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture
def budget(budget_database: Database) -> SharedBudget:
    """A budget that leaves room for everything and never really sleeps."""
    return generous_budget(budget_database)
