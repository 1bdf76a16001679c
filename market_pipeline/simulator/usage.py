"""What the key has used: the numbers behind /key."""

import itertools

from market_pipeline.simulator.messages import Document

# What the smallest paid plan for every endpoint has in a month.
MONTHLY_CREDITS = 500_000


class Usage:
    """Counts the answers that cost a credit, those with status 200; safe to use from any thread."""

    def __init__(self, requests_per_minute: int, monthly_credits: int) -> None:
        self._requests_per_minute = requests_per_minute
        self._monthly_credits = monthly_credits
        self._counter = itertools.count(1)
        self._spent = 0

    def spend(self) -> None:
        """Count one answer."""
        self._spent = next(self._counter)

    def as_document(self) -> Document:
        """The answer of /key; it counts what was answered before it."""
        return {
            "plan": "Analyst",
            "rate_limit_request_per_minute": self._requests_per_minute,
            "monthly_call_credit": self._monthly_credits,
            "current_total_monthly_calls": self._spent,
            "current_remaining_monthly_calls": max(0, self._monthly_credits - self._spent),
            "api_key_rate_limit_request_per_minute": self._requests_per_minute,
            "api_key_monthly_call_credit": self._monthly_credits,
            "api_key_current_total_monthly_calls": self._spent,
        }
