"""Which requests for history cover a set of days. Pure functions."""

from collections.abc import Iterable, Iterator
from datetime import date, timedelta

from market_pipeline.slices import Slice, merge_days

# CoinGecko answers a longer range with one price a day instead of one an hour.
LONGEST_WINDOW_DAYS = 90


def windows(days: Iterable[tuple[date, str]]) -> list[Slice]:
    """The fewest slices of at most 90 days that cover exactly these (day, symbol) pairs, by symbol
    and then by day: a year of one symbol is five."""
    return [window for stretch in merge_days(days) for window in _cut(stretch)]


def _cut(stretch: Slice) -> Iterator[Slice]:
    first = stretch.first
    while first <= stretch.last:
        last = min(stretch.last, first + timedelta(days=LONGEST_WINDOW_DAYS - 1))
        yield Slice(stretch.symbol, first, last)
        first = last + timedelta(days=1)
