"""What was asked: the log that tests read and people look up."""

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from market_pipeline.core.clock import iso
from market_pipeline.simulator.access import DEMO_KEYS, PRO_KEYS
from market_pipeline.simulator.messages import Document, Request

# Enough for a day of ticks; the oldest are dropped beyond it.
_KEPT = 10_000

_MASK = "***"
_SECRETS = {*DEMO_KEYS, *PRO_KEYS, "authorization", "cookie"}


@dataclass(frozen=True)
class LoggedRequest:
    """One request as it was answered.

    `time` is aware UTC; `path` is below the API's base; header names are lower case; the values of
    keys are masked, so that only the fact that they were sent is kept; `status` is None where the
    connection was cut before an answer.
    """

    time: datetime
    method: str
    path: str
    query: Mapping[str, str]
    status: int | None
    headers: Mapping[str, str]

    def as_document(self) -> Document:
        """For the admin path: the same as JSON."""
        return {
            "time": iso(self.time),
            "method": self.method,
            "path": self.path,
            "query": dict(self.query),
            "status": self.status,
            "headers": dict(self.headers),
        }


class RequestLog:
    """The last ten thousand requests, oldest first; safe to use from any thread."""

    def __init__(self) -> None:
        self._entries: deque[LoggedRequest] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()

    def add(self, request: Request, status: int | None) -> LoggedRequest:
        """Record that `request` is answered with `status`."""
        entry = LoggedRequest(
            time=request.time,
            method=request.method,
            path=request.path,
            query=_masked(request.query),
            status=status,
            headers=_masked(request.headers),
        )
        with self._lock:
            self._entries.append(entry)
        return entry

    def entries(self) -> list[LoggedRequest]:
        """A copy of what is recorded."""
        with self._lock:
            return list(self._entries)

    def clear(self) -> None:
        """Forget everything recorded."""
        with self._lock:
            self._entries.clear()


def _masked(values: Mapping[str, str]) -> dict[str, str]:
    """An empty key is not masked: that it was sent empty is worth seeing."""
    return {name: _MASK if name in _SECRETS and value else value for name, value in values.items()}
