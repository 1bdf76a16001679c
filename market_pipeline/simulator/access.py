"""Which requests are served: the plan, the API key, the User-Agent, the minute limit; and what the key has used."""

import math
import threading
from collections import deque
from datetime import datetime, timedelta
from typing import Literal

from market_pipeline.simulator import error_answers as errors
from market_pipeline.simulator.messages import DEMO_KEYS, PRO_KEYS, Answer, Document, Request

Plan = Literal["keyless", "demo", "pro"]

# Requests per minute that each plan promises (keyless: the least that users report).
PLAN_LIMITS: dict[Plan, int] = {"keyless": 5, "demo": 30, "pro": 500}
# The smallest paid plan for every endpoint.
MONTHLY_CREDITS = 500_000

_WINDOW = timedelta(seconds=60)
# The edge refuses longer request targets.
_LONGEST_TARGET = 8000


class MinuteLimit:
    """At most so many requests in any 60 seconds; refused requests do not count. Thread-safe."""

    def __init__(self, requests: int) -> None:
        if requests < 1:
            raise ValueError(f"The requests per minute must be at least 1, not {requests}.")
        self.requests = requests
        self._accepted: deque[datetime] = deque()
        self._lock = threading.Lock()

    def admit(self, now: datetime) -> datetime | None:
        """Count a request at `now` and return None, or refuse it and return when one is free again."""
        with self._lock:
            while self._accepted and self._accepted[0] + _WINDOW <= now:
                self._accepted.popleft()
            if len(self._accepted) < self.requests:
                self._accepted.append(now)
                return None
            return self._accepted[0] + _WINDOW


class Usage:
    """Counts the answers that cost a credit, those with status 200: the numbers of /key. Thread-safe."""

    def __init__(self, requests_per_minute: int, monthly_credits: int) -> None:
        self._requests_per_minute = requests_per_minute
        self._monthly_credits = monthly_credits
        self._lock = threading.Lock()
        self._spent = 0

    def spend(self) -> None:
        """Count one answer."""
        with self._lock:
            self._spent += 1

    def as_document(self) -> Document:
        """Return the answer of /key, which counts the answers before it."""
        with self._lock:
            spent = self._spent
        return {
            "plan": "Analyst",
            "rate_limit_request_per_minute": self._requests_per_minute,
            "monthly_call_credit": self._monthly_credits,
            "current_total_monthly_calls": spent,
            "current_remaining_monthly_calls": max(0, self._monthly_credits - spent),
            "api_key_rate_limit_request_per_minute": self._requests_per_minute,
            "api_key_monthly_call_credit": self._monthly_credits,
            "api_key_current_total_monthly_calls": spent,
        }


def refusal(request: Request, plan: Plan, limit: MinuteLimit | None) -> Answer | None:
    """Return the error that `request` gets before any endpoint sees it, or None.

    Under `demo` a request without a key is refused, so that a forgotten key shows; the real host serves it as keyless.
    """
    if request.length > _LONGEST_TARGET:
        return errors.by_status(414, None, request.time)
    if not request.headers.get("user-agent", "").strip():
        return errors.by_status(403, None, request.time)
    return _wrong_key(request, plan) or _over_the_limit(request, plan, limit)


def sent_key(request: Request) -> str:
    """Return the key that came with `request`, of either kind, in the header or the query; '' if none did."""
    return _key(request, DEMO_KEYS) or _key(request, PRO_KEYS) or ""


def _wrong_key(request: Request, plan: Plan) -> Answer | None:
    """Refuse a key of the wrong kind. Any of the right kind passes; the fault 401 is for unknown ones."""
    demo, pro = _key(request, DEMO_KEYS), _key(request, PRO_KEYS)
    if plan == "pro":
        if demo is not None and not pro:
            return errors.by_status(400, 10011, request.time)
        return None if pro else errors.by_status(401, 10002, request.time)
    if pro is not None:
        return errors.by_status(400, 10010, request.time)
    return errors.by_status(401, 10002, request.time) if plan == "demo" and not demo else None


def _key(request: Request, names: tuple[str, str]) -> str | None:
    """Return the key in the header or in the query: '' if it was sent empty, None if it was not sent."""
    header, parameter = names
    return request.headers.get(header, request.query.get(parameter))


def _over_the_limit(request: Request, plan: Plan, limit: MinuteLimit | None) -> Answer | None:
    free = limit.admit(request.time) if limit else None
    if limit is None or free is None:
        return None
    seconds = max(1, math.ceil((free - request.time).total_seconds()))
    keyless = {"Retry-After": str(seconds)}
    headers = keyless if plan == "keyless" else errors.rate_limit_headers(limit.requests, free)
    return errors.with_headers(errors.by_status(429, None, request.time), headers)
