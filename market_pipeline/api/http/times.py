"""Times as answers write them, and as requests may write them."""

import re
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Annotated

import numpy as np
from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError
from typing_extensions import LiteralString

from market_pipeline.core.clock import from_microseconds, iso, to_microseconds

_SECOND = 1_000_000

# https://www.rfc-editor.org/rfc/rfc3339#section-5.6: full-date, or date-time.
_DATE = r"(\d{4})-(\d\d)-(\d\d)"
_MOMENT = re.compile(
    rf"{_DATE}(?:[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d)))?", re.ASCII
)
_HOW: LiteralString = (
    "write a day (2026-11-23) or a time with seconds and offset (2026-11-23T12:00:00Z; a + in an address is %2B)"
)


def text_of(microseconds: int) -> str:
    """Write microseconds since 1970 UTC as `clock.iso` does."""
    return iso(from_microseconds(microseconds))


def texts_of(microseconds: Sequence[int]) -> list[str]:
    """Write many times at once, in a fifth of the time."""
    moments = np.array(microseconds, dtype=np.int64).view("datetime64[us]")
    texts = np.datetime_as_string(moments, unit="us").tolist()
    return [f"{text.removesuffix('.000000')}Z" for text in texts]


def moment(given: object) -> datetime:
    """Parse an RFC 3339 time with an offset, or a day (its midnight UTC), into an aware UTC time.

    Fractions are rounded up to microseconds, so that a limit keeps its meaning; an offset that leads out of the years
    1 to 9999 gives their first or last microsecond. Raises PydanticCustomError, a ValueError, for anything else:
    pydantic's AwareDatetime rounds down, accepts seconds since 1970 and refuses days.
    """
    found = _MOMENT.fullmatch(given) if isinstance(given, str) else None
    if found is None:
        raise PydanticCustomError("time", _HOW)
    *numbers, fraction, sign, hours, minutes = found.groups()
    try:
        local = datetime(*(int(number or 0) for number in numbers))  # type: ignore[arg-type]  # six of them
    except ValueError as error:
        raise PydanticCustomError("time", "there is no such time: {why}", {"why": str(error)}) from None
    offset = 60 * (60 * int(hours or 0) + int(minutes or 0)) * (-1 if sign == "-" else 1)
    whole = to_microseconds(local.replace(tzinfo=timezone.utc)) - offset * _SECOND
    return from_microseconds(min(max(whole + _rounded_up(fraction or ""), _FIRST), _LAST))


def _rounded_up(fraction: str) -> int:
    """Return the digits after the decimal point of a second as microseconds."""
    return int(fraction[:6].ljust(6, "0")) + bool(fraction[6:].strip("0"))


_FIRST, _LAST = (to_microseconds(end.replace(tzinfo=timezone.utc)) for end in (datetime.min, datetime.max))

# The type of a parameter that is a time.
Moment = Annotated[
    datetime,
    PlainValidator(moment),
    WithJsonSchema({"anyOf": [{"type": "string", "format": name} for name in ("date-time", "date")]}),
]
