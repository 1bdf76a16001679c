"""Cursors of pages as opaque text: the key of the last row, so that new rows shift no page."""

import base64
import json
import math
from datetime import datetime
from typing import Any

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.api.http.problems import ApiProblem
from market_pipeline.core.clock import from_microseconds, to_microseconds
from market_pipeline.storage.queries.anomaly_pages import Cursor, ImportanceCursor


def encode_time(microseconds: int) -> str:
    """Return the cursor after the row of this time (microseconds since 1970 UTC)."""
    return _encoded(microseconds)


def decode_time(text: str) -> datetime:
    """Return the time (aware UTC) of the row before the cursor; raise an ApiProblem 404 if it is not one."""
    try:
        (microseconds,) = _decoded(text)
        return from_microseconds(microseconds)
    except (ValueError, TypeError, OverflowError):
        raise _unknown(text) from None


def encode_anomaly(cursor: Cursor) -> str:
    """Return `cursor` as text."""
    return _encoded(to_microseconds(cursor.timestamp), cursor.symbol, cursor.kind)


def decode_anomaly(text: str) -> Cursor:
    """Return the cursor that `text` encodes; raise an ApiProblem 404 if it is no cursor of anomalies."""
    try:
        return _anomaly(*_decoded(text))
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise _unknown(text) from None


def encode_importance(cursor: ImportanceCursor) -> str:
    """Return `cursor` as text."""
    return _encoded(cursor.importance, to_microseconds(cursor.timestamp), cursor.symbol, cursor.kind)


def decode_importance(text: str) -> ImportanceCursor:
    """Return the cursor that `text` encodes; raise an ApiProblem 404 if it is no cursor of the order by importance."""
    try:
        importance, *key = _decoded(text)
        if importance is not None and not math.isfinite(importance):
            raise ValueError(importance)
        return ImportanceCursor(importance, *_anomaly(*key))
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise _unknown(text) from None


def _anomaly(microseconds: int, symbol: str, kind: str) -> Cursor:
    # Cursors are untrusted, and PostgreSQL refuses some texts.
    if not (symbol.isascii() and symbol.isprintable()):
        raise ValueError(symbol)
    return Cursor(from_microseconds(microseconds), symbol, Kind(kind).value)


def _encoded(*key: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(key, separators=(",", ":")).encode()).rstrip(b"=").decode()


def _decoded(text: str) -> Any:
    content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    return json.loads(content)


def _unknown(text: str) -> ApiProblem:
    return ApiProblem(
        404, "unknown-cursor",
        f"There is no page after the cursor {text!r}; use next_cursor of the previous page unchanged, or leave it "
        "out to begin with the newest rows.",
    )
