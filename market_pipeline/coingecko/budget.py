"""The request budget: who may send a request, and when.

Every attempt asks here first, retries included. `MinuteBudget` counts the requests of one process;
a budget that several processes share only has to be a `RequestBudget`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from market_pipeline.settings import Plan

logger = logging.getLogger(__name__)

# Half a second more than a minute: requests arrive at the server a little later than they were
# granted here, and not all by the same amount.
WINDOW_SECONDS = 60.5

_REQUESTS_PER_MINUTE = {"keyless": 5, "demo": 30, "pro": 100}


def requests_per_minute(plan: Plan) -> int:
    """How many requests `plan` may send in a minute: what the public plans allow in practice, and
    never more than 100."""
    return _REQUESTS_PER_MINUTE[plan]


class RequestBudget(Protocol):
    """Grants requests; one grant is one HTTP request."""

    def acquire(self, endpoint: str) -> float:
        """Wait until a request to `endpoint` may be sent; the seconds waited."""
        ...


class MinuteBudget:
    """At most `limit` requests in any 60 seconds of this process; may be shared by threads."""

    def __init__(
        self,
        limit: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if limit < 1:
            raise ValueError(f"a budget of {limit} requests a minute can never send one; give at least 1")
        self._limit = limit
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._grants: deque[float] = deque(maxlen=limit)

    def acquire(self, endpoint: str) -> float:
        """Wait until a request to `endpoint` may be sent; the seconds waited."""
        wait = self._reserve()
        if wait > 0:
            logger.info(
                "Waiting %.1f s before GET %s: %d requests a minute are the limit here",
                wait, endpoint, self._limit,
                extra={"endpoint": endpoint, "wait_seconds": round(wait, 3)},
            )
            self._sleep(wait)
        return wait

    def _reserve(self) -> float:
        """Book the next free moment and return how far off it is, so that waiting threads are
        served in the order in which they came and none of them holds the lock while it sleeps."""
        with self._lock:
            now = self._clock()
            granted = now
            if len(self._grants) == self._limit:
                granted = max(now, self._grants[0] + WINDOW_SECONDS)
            self._grants.append(granted)
            return granted - now
