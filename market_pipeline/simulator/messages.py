"""A request as the endpoints see it, an answer as they give it, and the log of both."""

import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from market_pipeline.core.clock import iso

JSON_TYPE = "application/json; charset=utf-8"
HTML_TYPE = "text/html; charset=UTF-8"
TEXT_TYPE = "text/plain; charset=UTF-8"

DEMO_KEYS = ("x-cg-demo-api-key", "x_cg_demo_api_key")
PRO_KEYS = ("x-cg-pro-api-key", "x_cg_pro_api_key")

# A day of ticks is much less.
_MOST_ENTRIES = 10_000
_MASK = "***"
_SECRETS = {*DEMO_KEYS, *PRO_KEYS, "authorization", "cookie"}

Document = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """One request: `path` below the API's base (`/simple/price`), header names in lower case, `time` aware UTC.

    `length` is that of the whole request target in characters.
    """

    time: datetime
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    length: int


@dataclass(frozen=True)
class Answer:
    """One answer, complete except for the headers that every answer has."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)


def json_answer(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return `document` as compact JSON; NaN is written as the bare word, as careless servers do."""
    return Answer(status, json.dumps(document, separators=(",", ":")).encode(), headers=headers or {})


@dataclass(frozen=True)
class LoggedRequest:
    """One request as it was answered; keys are masked unless they were sent empty.

    `status` is None where the connection was cut before an answer.
    """

    time: datetime
    method: str
    path: str
    query: Mapping[str, str]
    status: int | None
    headers: Mapping[str, str]

    def as_document(self) -> Document:
        """Return the same as JSON for the admin path."""
        return {**asdict(self), "time": iso(self.time)}


class RequestLog:
    """The last ten thousand requests, oldest first. Thread-safe."""

    def __init__(self) -> None:
        self._entries: deque[LoggedRequest] = deque(maxlen=_MOST_ENTRIES)
        self._lock = threading.Lock()

    def add(self, request: Request, status: int | None) -> LoggedRequest:
        """Record that `request` is answered with `status`."""
        query, headers = _masked(request.query), _masked(request.headers)
        entry = LoggedRequest(request.time, request.method, request.path, query, status, headers)
        with self._lock:
            self._entries.append(entry)
        return entry

    def entries(self) -> list[LoggedRequest]:
        """Return a copy."""
        with self._lock:
            return list(self._entries)

    def clear(self) -> None:
        """Forget all requests."""
        with self._lock:
            self._entries.clear()


def _masked(values: Mapping[str, str]) -> dict[str, str]:
    return {name: _MASK if name in _SECRETS and value else value for name, value in values.items()}
