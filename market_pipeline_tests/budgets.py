"""Request budgets for tests that are about something else, and one that writes down what it is told."""

import dataclasses
import itertools
from collections.abc import Sequence
from datetime import datetime, timezone

from market_pipeline.budget.rules import Account, Limits
from market_pipeline.budget.shared import SharedBudget
from market_pipeline.coingecko.errors import BudgetExhausted
from market_pipeline.coingecko.request_budget import Grant
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.types import to_microseconds

_NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
_START = to_microseconds(_NOON)
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


@dataclasses.dataclass
class Recorder:
    """A budget that grants `left` requests and writes down what it is told."""

    left: int = 100
    asked: list[str] = dataclasses.field(default_factory=list)
    told: list[tuple[str, float | None]] = dataclasses.field(default_factory=list)
    reasons: list[str] = dataclasses.field(default_factory=list)

    def acquire(self, endpoint: str) -> Grant:
        if len(self.asked) == self.left:
            raise BudgetExhausted("nothing is left.", endpoint=endpoint, retry_after=90.0)
        self.asked.append(endpoint)
        return Grant(endpoint, _NOON, 0.0)

    def settle(self, grant: Grant, outcome: str, cool_down: float | None = None, reason: str = "") -> None:
        assert grant.endpoint == self.asked[-1]
        self.told.append((outcome, cool_down))
        self.reasons.append(reason)
