"""A request as the endpoints see it and an answer as they give it; the socket is in `server`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

JSON_TYPE = "application/json; charset=utf-8"
HTML_TYPE = "text/html; charset=UTF-8"

Document = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """One request: `path` below the API's base (`/simple/price`), `headers` with lower-case names,
    `time` aware UTC, `length` of the whole request target in characters."""

    time: datetime
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    length: int


@dataclass(frozen=True)
class Answer:
    """One answer, complete but for the headers that every answer has."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)


def json_answer(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """`document` as compact JSON; NaN is written as the bare word, as careless servers do."""
    return Answer(status, json.dumps(document, separators=(",", ":")).encode(), headers=headers or {})
