"""Holes of the last day: find them, and fill them with 5-minute points, which exist for 24 hours.

A hole is a stretch between two stored prices, or between the last one and the present one, in which more than two
ticks are missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from market_pipeline.coingecko.errors import CoinGeckoError
from market_pipeline.coingecko.outage import Outage
from market_pipeline.core.clock import DAY
from market_pipeline.logs import bound, get_logger
from market_pipeline.prices.absences import Absence
from market_pipeline.prices.collection import Collection
from market_pipeline.prices.gaps import Interval, gaps, without
from market_pipeline.prices.history import fetch_chart
from market_pipeline.prices.quotes import Quote

logger = get_logger(__name__)

# A request may wait minutes for the budget; one that begins a day before it arrives is answered hourly.
_MARGIN = timedelta(minutes=10)
# A source that updates a coin every half hour would otherwise be asked why after each update.
_RETRY_SILENT_AFTER = timedelta(hours=1)
_TIME_LIMIT = timedelta(minutes=4)
_TIME_IS_UP = "a run fills holes for 4 minutes at most"


@dataclass(frozen=True)
class RecentPrices:
    """What is stored of a symbol: the time of its newest price, and the long silences of the last day."""

    newest: datetime
    silences: tuple[Interval, ...]


def day_back(now: datetime) -> Interval:
    """Return the 24 hours, in whole seconds, to request at `now`: they end a little after it."""
    start = (now - DAY + _MARGIN).replace(microsecond=0)
    return Interval(start, start + DAY)


def find_holes(
    recent: Mapping[str, RecentPrices], live: Iterable[Quote], now: datetime, longest: timedelta
) -> dict[str, list[Interval]]:
    """Return the holes longer than `longest` of the day before `now`, by symbol in the order of `recent`.

    `live` are the prices that have just arrived. A symbol without an earlier price has no hole, one without a present
    price none that reaches the present.
    """
    newest = {quote.symbol: quote.timestamp for quote in live}
    window = day_back(now)
    found = {}
    for symbol, stored in recent.items():
        silences = list(stored.silences)
        if symbol in newest and newest[symbol] > stored.newest:
            silences.append(Interval(stored.newest, newest[symbol]))
        inside = [silence.within(window) for silence in silences if silence.overlaps(window)]
        if holes := [hole for hole in inside if hole.length > longest]:
            found[symbol] = holes
    return found


def unexplained(
    holes: Mapping[str, Sequence[Interval]], known: Sequence[Absence], now: datetime, longest: timedelta
) -> dict[str, list[Interval]]:
    """Return what remains of the holes outside the `known` absences that hold at `now`.

    A symbol for which the source gave no prices within the last hour is left out.
    """
    silent = {absence.symbol for absence in known if absence.found_at > now - _RETRY_SILENT_AFTER}
    rest = {}
    for symbol, of_symbol in holes.items():
        cuts = [absence.span for absence in known if absence.symbol == symbol and absence.holds_at(now)]
        pieces = [piece for piece in without(of_symbol, cuts) if piece.length > longest]
        if pieces and symbol not in silent:
            rest[symbol] = pieces
    return rest


def fill_holes(collection: Collection, holes: Mapping[str, Sequence[Interval]], longest: timedelta) -> None:
    """Request the last day of each symbol once and add the prices inside its holes.

    What cannot be filled is in `unfilled` with the reason and is no failure: the next tick finds the hole again. A
    silence of the answer itself that is longer than `longest` is noted as an absence. Refusals are filed under today.
    """
    client, unfilled = collection.client, collection.unfilled
    began, stopped, outage = client.clock(), "", Outage()
    for symbol in outage.order(holes):
        if not stopped and client.clock() > began + _TIME_LIMIT:
            stopped = _TIME_IS_UP
        if stopped:
            unfilled[symbol] = stopped
            continue
        try:
            with bound(symbol=symbol):
                _fill_symbol(collection, symbol, holes[symbol], began.date(), longest)
            outage.note(None)
        except CoinGeckoError as error:
            unfilled[symbol] = error.verdict
            outage.note(error)
            stopped = outage.stopped.verdict if outage.stopped else ""
    if unfilled:
        logger.warning(
            "The holes of %s in the last day stay until the next tick: %s",
            ", ".join(unfilled), next(iter(unfilled.values())), extra={"symbols_unfilled": len(unfilled)},
        )


def _fill_symbol(
    collection: Collection, symbol: str, holes: Sequence[Interval], today: date, longest: timedelta
) -> None:
    coin = collection.catalogue.coin(symbol)
    asked = day_back(collection.client.clock())
    chart = fetch_chart(collection.client, coin, asked)
    examined = chart.examined([today])
    spans = [hole.within(asked) for hole in holes if hole.overlaps(asked)]
    inside = [quote for quote in examined.quotes if any(span.start < quote.timestamp < span.end for span in spans)]
    collection.add(replace(examined, quotes=tuple(inside)))
    collection.filled += inside
    # An answer that arrived too late is hourly, and its silences mean nothing.
    if not chart.evidence or chart.received_at - asked.start > DAY:
        return
    times = [quote.timestamp for quote in examined.quotes]
    for span in spans:
        collection.answered.append((coin, span))
        silences = gaps(times, span.start, span.end, longest)
        collection.absences += chart.absences(examined, silences, longest)
