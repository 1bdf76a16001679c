"""Holes of the last day: found here, filled by `fill`. Pure.

A hole is a stretch between two stored prices, or between the last one and the present one, in which
more than two ticks are missing. Within 24 hours 5-minute points exist to fill it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from market_pipeline.coingecko.errors import CoinGeckoError
from market_pipeline.coingecko.outage import Outage
from market_pipeline.core.clock import DAY
from market_pipeline.core.symbols import Catalogue
from market_pipeline.logs import bound, get_logger
from market_pipeline.prices.absences import Absence, Answered, AnswerTimes
from market_pipeline.prices.collection import Collected, Progress
from market_pipeline.prices.gaps import Interval, gaps, without
from market_pipeline.prices.history import fetch_chart
from market_pipeline.prices.quotes import Quote, Source
from market_pipeline.prices.validation import Examined, examine

if TYPE_CHECKING:
    from market_pipeline.coingecko.client import CoinGeckoClient

# A request may wait its turn for some minutes; one that begins a day before it comes is hourly.
_MARGIN = timedelta(minutes=10)
# A source that updates a coin every half hour would otherwise be asked why after each update.
_LET_SILENT_BE = timedelta(hours=1)


@dataclass(frozen=True)
class RecentPrices:
    """What is stored of a symbol: the time of the newest price, and the long silences between the
    prices of the last day."""

    newest: datetime
    silences: tuple[Interval, ...]


def day_back(now: datetime) -> Interval:
    """The 24 hours, in whole seconds, that are asked for at `now`: they end a little after it."""
    start = (now - DAY + _MARGIN).replace(microsecond=0)
    return Interval(start, start + DAY)


def find_holes(
    recent: Mapping[str, RecentPrices], live: Iterable[Quote], now: datetime, longest: timedelta
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


logger = get_logger(__name__)

_PATIENCE = timedelta(minutes=4)
_ENOUGH = "a run fills holes for 4 minutes at most"


def fill_holes(
    client: CoinGeckoClient,
    catalogue: Catalogue,
    holes: Mapping[str, Sequence[Interval]],
    today: date,
    longest: timedelta,
) -> Collected:
    """Ask for the last day of each symbol once and keep the prices inside its holes.

    What cannot be filled now is in `unfilled` with the reason and is no failure: the next tick finds
    the hole again. A silence of the answer itself that is longer than `longest` is noted as an absence.
    Refusals are filed under `today`.
    """
    progress, unfilled = Progress(), dict[str, str]()
    before, deadline = client.requests_sent, client.clock() + _PATIENCE
    stopped, outage = "", Outage()
    for symbol in outage.order(holes):
        if not stopped and client.clock() > deadline:
            stopped = _ENOUGH
        if stopped:
            unfilled[symbol] = stopped
            continue
        try:
            with bound(symbol=symbol):
                _fill_symbol(client, catalogue, symbol, holes[symbol], today, longest, progress)
            outage.note(None)
        except CoinGeckoError as error:
            unfilled[symbol] = error.verdict
            outage.note(error)
            stopped = outage.stopped.verdict if outage.stopped else ""
    if unfilled:
        logger.warning("The holes of %s in the last day stay until the next tick: %s",
                       ", ".join(unfilled), next(iter(unfilled.values())),
                       extra={"symbols_unfilled": len(unfilled)})
    collected = progress.collected(client.requests_sent - before)
    return replace(collected, filled=collected.quotes, unfilled=unfilled)


def _fill_symbol(
    client: CoinGeckoClient,
    catalogue: Catalogue,
    symbol: str,
    holes: Sequence[Interval],
    today: date,
    longest: timedelta,
    progress: Progress,
) -> None:
    coin = catalogue.coin(symbol)
    asked = day_back(client.clock())
    chart = fetch_chart(client, coin.source_id, asked)
    examined = examine(
        chart.points, coin=coin, days=[today], now=chart.came, source=Source.HISTORY,
        window=(asked.start, asked.end),
    )
    spans = [hole.within(asked) for hole in holes if hole.overlaps(asked)]
    inside = tuple(quote for quote in examined.quotes if any(_lies_in(quote, span) for span in spans))
    progress.add(Examined(inside, examined.refusals, examined.merged))
    # One that was asked too late is hourly, and its silences mean nothing.
    if not chart.evidence or chart.came - asked.start > DAY:
        return
    answer = AnswerTimes.of(examined, asked, longest, chart.until)
    for span in spans:
        progress.answered.append(Answered(symbol, coin.coin_id, span))
        for silence in gaps(answer.times, span.start, span.end, longest):
            progress.absences += answer.absences(coin, silence, chart.evidence, chart.came)


def _lies_in(quote: Quote, hole: Interval) -> bool:
    return hole.start < quote.timestamp < hole.end
