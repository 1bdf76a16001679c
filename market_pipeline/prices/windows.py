"""Which requests for history cover a set of days. Pure functions."""

from collections.abc import Iterable
from datetime import date, timedelta

from market_pipeline.slices import Slice

# CoinGecko answers a longer range with one price a day instead of one an hour.
LONGEST_WINDOW_DAYS = 90


def windows(days: Iterable[tuple[date, str]], longest: int = LONGEST_WINDOW_DAYS) -> list[Slice]:
    """The fewest slices of at most `longest` days that cover these (UTC day, symbol) pairs: a year of
    one symbol is five. By symbol, and then the newest first.

    Days in between that are not asked for are bridged: a request costs the same with or without them.
    """
    found: list[Slice] = []
    for day, symbol in sorted(set(days), key=lambda pair: (pair[1], -pair[0].toordinal())):
        newest = found[-1] if found else None
        if newest and newest.symbol == symbol and newest.last - day < timedelta(days=longest):
            found[-1] = Slice(symbol, day, newest.last)
        else:
            found.append(Slice(symbol, day, day))
    return found
