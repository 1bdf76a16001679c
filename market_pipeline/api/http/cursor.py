"""Where a page ends, as opaque text. It is the key of the last row, not a count: rows that arrive
meanwhile are newer and move nothing.

The digest tells what somebody made up or cut off from what was given out; there is nothing secret in it,
and a place is not more than `end` allows anyway.
"""

import base64
import binascii
import hashlib
import json
from datetime import datetime
from typing import Any

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.api.http.problems import ApiProblem
from market_pipeline.core.clock import from_microseconds, to_microseconds
from market_pipeline.storage.queries.anomaly_pages import Cursor

_DIGEST_BYTES = 6


def of_price(microseconds: int) -> str:
    """The cursor behind the price of this time, microseconds since 1970 UTC."""
    return _sealed("prices", microseconds)


def before_price(cursor: str) -> datetime:
    """The time (aware UTC) of the price that `cursor` of `of_price` stands behind; else an ApiProblem 404."""
    try:
        (microseconds,) = _opened("prices", cursor)
        return from_microseconds(microseconds)
    except (ValueError, TypeError, OverflowError):
        raise _unknown(cursor) from None


def of_anomaly(place: Cursor) -> str:
    """The cursor behind the anomaly at `place`."""
    return _sealed("anomalies", to_microseconds(place.timestamp), place.symbol, place.kind)


def behind_anomaly(cursor: str) -> Cursor:
    """The place that `cursor` of `of_anomaly` stands behind; else an ApiProblem 404."""
    try:
        microseconds, symbol, kind = _opened("anomalies", cursor)
        return Cursor(from_microseconds(microseconds), str(symbol), Kind(kind).value)
    except (ValueError, TypeError, OverflowError):
        raise _unknown(cursor) from None


def _sealed(what: str, *key: object) -> str:
    content = json.dumps(key, separators=(",", ":")).encode()
    return _text(_digest(what, content) + content)


def _text(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def _opened(what: str, cursor: str) -> Any:
    """The key that was sealed; ValueError if it is not one."""
    try:
        sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    digest, content = sealed[:_DIGEST_BYTES], sealed[_DIGEST_BYTES:]
    # Several texts decode to the same bytes; one of them was given out.
    if digest != _digest(what, content) or cursor != _text(sealed):
        raise ValueError("not given out here")
    return json.loads(content)


def _digest(what: str, content: bytes) -> bytes:
    return hashlib.sha256(what.encode() + b":" + content).digest()[:_DIGEST_BYTES]


def _unknown(cursor: str) -> ApiProblem:
    return ApiProblem(
        404, "unknown-cursor",
        f"There is no page behind the cursor {cursor!r}; take next_cursor of the page before as it is, "
        "or leave it out to begin with the newest.",
    )
