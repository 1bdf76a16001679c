"""Filling the holes of the last day with 5-minute points: one request a symbol, however many holes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

from market_pipeline.clock import DAY
from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.errors import CoinGeckoError
from market_pipeline.coingecko.outage import Outage
from market_pipeline.logs import bound, get_logger
from market_pipeline.prices.absences import Answered, AnswerTimes
from market_pipeline.prices.charts import ask_chart
from market_pipeline.prices.collected import Collected, Progress
from market_pipeline.prices.gaps import Interval, gaps
from market_pipeline.prices.holes import day_back
from market_pipeline.prices.quotes import Quote, Source
from market_pipeline.prices.validate import Examined, examine
from market_pipeline.symbols import Catalogue

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
    chart = ask_chart(client, coin.asked_id, asked)
    examined = examine(
        chart.points, coin=coin, days=[today], now=chart.came, source=Source.HISTORY,
        window=(asked.start, asked.end),
    )
    spans = [hole.within(asked) for hole in holes if hole.overlaps(asked)]
    inside = tuple(quote for quote in examined.quotes if any(_lies_in(quote, span) for span in spans))
    progress.keep(Examined(inside, examined.refusals, examined.merged))
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
