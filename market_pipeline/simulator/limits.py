"""The simulator's minute limit: at most so many requests in any 60 seconds."""

import threading
from collections import deque
from datetime import datetime, timedelta

WINDOW = timedelta(seconds=60)


class MinuteLimit:
    """A sliding window over the times that it is told; refused requests do not count."""

    def __init__(self, requests: int) -> None:
        if requests < 1:
            raise ValueError(f"The requests per minute must be at least 1, not {requests}.")
        self.requests = requests
        self._accepted: deque[datetime] = deque()
        self._lock = threading.Lock()

    def admit(self, now: datetime) -> datetime | None:
        """Count a request at `now` and return None, or refuse it and return when one is free again."""
        with self._lock:
            while self._accepted and self._accepted[0] + WINDOW <= now:
                self._accepted.popleft()
            if len(self._accepted) < self.requests:
                self._accepted.append(now)
                return None
            return self._accepted[0] + WINDOW
