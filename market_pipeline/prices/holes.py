"""Holes of the last day: found here, filled by `fill`. Pure.

A hole is a stretch between two stored prices, or between the last one and the present one, in which
more than two ticks are missing. Within 24 hours 5-minute points exist to fill it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cronsim import CronSim

from market_pipeline.clock import DAY
from market_pipeline.prices.absences import Absence
from market_pipeline.prices.gaps import Interval, without
from market_pipeline.prices.quotes import Quote

_LEAST = timedelta(minutes=10)
# Prices may be a minute old when they come, and a run takes some seconds to start.
_SLACK = timedelta(minutes=3)
# A request may wait its turn for some minutes; one that begins a day before it comes is hourly.
_MARGIN = timedelta(minutes=10)
# A source that updates a coin every half hour would otherwise be asked why after each update.
_LET_SILENT_BE = timedelta(hours=1)


@dataclass(frozen=True)
class Recent:
    """What is stored of a symbol: the time of the newest price, and the long silences between the
    prices of the last day."""

    newest: datetime
    silences: tuple[Interval, ...]


def longest_silence(collect_cron: str, now: datetime) -> timedelta:
    """The longest time between two prices that is no hole at `now`: two ticks and some slack."""
    ticks = CronSim(collect_cron, now, reverse=True)
    last, _, last_but_two = next(ticks), next(ticks), next(ticks)
    return max(_LEAST, last - last_but_two + _SLACK)


def day_back(now: datetime) -> Interval:
    """The 24 hours, in whole seconds, that are asked for at `now`: they end a little after it."""
    start = (now - DAY + _MARGIN).replace(microsecond=0)
    return Interval(start, start + DAY)


def find_holes(
    recent: Mapping[str, Recent], live: Iterable[Quote], now: datetime, longest: timedelta
) -> dict[str, list[Interval]]:
    """The holes longer than `longest` of the day before `now`, by symbol in the order of `recent`.

    `live` are the prices that have just come. A symbol without an earlier price has no hole, and one
    without a present price none that reaches the present.
    """
    newest = {quote.symbol: quote.timestamp for quote in live}
    window = day_back(now)
    found = {}
    for symbol, stored in recent.items():
        stretches = list(stored.silences)
        if symbol in newest and newest[symbol] > stored.newest:
            stretches.append(Interval(stored.newest, newest[symbol]))
        inside = [stretch.within(window) for stretch in stretches if stretch.overlaps(window)]
        if holes := [hole for hole in inside if hole.length > longest]:
            found[symbol] = holes
    return found


def unexplained(
    holes: Mapping[str, Sequence[Interval]], known: Collection[Absence], now: datetime, longest: timedelta
) -> dict[str, list[Interval]]:
    """What remains of the holes without the `known` absences that hold at `now`.

    A symbol for which the source gave no prices within the last hour is left out.
    """
    silent = {absence.symbol for absence in known if absence.found_at > now - _LET_SILENT_BE}
    left = {}
    for symbol, stretches in holes.items():
        cut = [one.span for one in known if one.symbol == symbol and one.holds_at(now)]
        pieces = without(stretches, cut)
        pieces = [piece for piece in pieces if piece.length > longest]
        if pieces and symbol not in silent:
            left[symbol] = pieces
    return left
