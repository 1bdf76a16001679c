"""A request budget for tests that are about something else."""

import itertools
from collections.abc import Sequence
from datetime import datetime, timezone

from market_pipeline.budget.account import Account
from market_pipeline.budget.limits import Limits
from market_pipeline.budget.shared import SharedBudget
from market_pipeline.storage.engine import Database
from market_pipeline.storage.types import to_microseconds

_START = to_microseconds(datetime(2026, 11, 23, 12, tzinfo=timezone.utc))
_numbers = itertools.count()


def generous_budget(database: Database, waits: Sequence[float] = ()) -> SharedBudget:
    """A thousand requests a minute of an account of its own, in a time that only sleeping moves: the
    sleeps recorded in `waits`, such as those of the client, and the budget's own."""
    own: list[float] = []
    return SharedBudget(
        database,
        Account("keyless", f"host-{next(_numbers)}"),
        Limits(1_000, None),
        sleep=own.append,
        clock=lambda connection: _START + round(1_000_000 * (sum(own) + sum(waits))),
    )
