"""Reading query parameters as CoinGecko does: lists without trimming, lenient booleans, UNIX seconds.

A parameter that cannot be used raises `BadParameter`, which carries the answer.
"""

import math
from collections.abc import Mapping
from datetime import datetime, timezone

from market_pipeline.simulator import errors
from market_pipeline.simulator.messages import Answer

# Later seconds than these are milliseconds by mistake (the year 2286).
_LATEST_SECONDS = 9_999_999_999


class BadParameter(Exception):
    """A parameter is missing or unusable; `answer` is the error that says so."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body.decode())
        self.answer = answer


def required(query: Mapping[str, str], name: str) -> str:
    """The value of `name`; `BadParameter` (422) when it is missing or empty."""
    if not query.get(name):
        raise BadParameter(errors.missing_parameter(name))
    return query[name]


def names_in(text: str) -> list[str]:
    """The comma-separated names; a space stays part of its name, which is then unknown."""
    return [name for name in text.split(",") if name]


def flag(query: Mapping[str, str], name: str) -> bool:
    """Whether the boolean `name` is asked for."""
    return query.get(name, "").lower() == "true"


def moment(query: Mapping[str, str], name: str, *, iso_dates: bool) -> datetime:
    """The time in `name`: UNIX seconds, or with `iso_dates` also YYYY-MM-DD or YYYY-MM-DDTHH:MM in UTC."""
    text = required(query, name)
    try:
        seconds = float(text)
    except ValueError:
        return _iso_date(text) if iso_dates else _invalid_date()
    if not math.isfinite(seconds) or not 0 <= seconds <= _LATEST_SECONDS:
        _invalid_date()
    return datetime.fromtimestamp(seconds, timezone.utc)


def rounded(price: float, precision: str | None) -> float | int:
    """`price` with the decimals of the parameter `precision`; without it, CoinGecko's own rounding:
    whole dollars for large prices, cents above one dollar, four significant digits for small ones."""
    if precision == "full":
        return price
    if precision is None:
        if price >= 10_000:
            return round(price)
        return round(price, 2) if price >= 1 else float(f"{price:.4g}")
    if precision.isdecimal() and int(precision) <= 18:
        return round(price, int(precision)) if precision != "0" else round(price)
    raise BadParameter(errors.plain(422, "invalid precision"))


def _iso_date(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)
    except ValueError:
        return _invalid_date()


def _invalid_date() -> datetime:
    raise BadParameter(errors.plain(400, "invalid date"))
