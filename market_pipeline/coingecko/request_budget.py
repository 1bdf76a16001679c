"""The request budget as the transport sees it; `market_pipeline.budget` implements it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

# The outcomes of a request without an HTTP status: it may have reached the server, or it never left.
NO_ANSWER = "no answer"
NOT_SENT = "not sent"


@dataclass(frozen=True)
class Grant:
    """The right to send one request now; it counts even if it is not used.

    `granted_at` is aware UTC by the budget's clock, `waited` is in seconds.
    """

    endpoint: str
    granted_at: datetime
    waited: float


class RequestBudget(Protocol):
    """Grants requests; one grant is one HTTP request."""

    def acquire(self, endpoint: str) -> Grant:
        """Wait until a request to `endpoint` may be sent; raise BudgetExhausted if that takes too long."""
        ...

    def settle(self, grant: Grant, outcome: str, cool_down: float | None = None, reason: str = "") -> None:
        """Record the outcome of a granted request: its HTTP status, `NO_ANSWER` or `NOT_SENT`.

        `cool_down` stops all requests for that many seconds, because of `reason`. Best effort: a budget
        that cannot be reached raises nothing.
        """
        ...
