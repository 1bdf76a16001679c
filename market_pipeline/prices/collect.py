"""Collecting a set of days with the fewest requests: today's prices of all symbols by one request
for current prices, past days by windows of history.

What is asked and in what order stands here; what is a good price stands in `validate`.
"""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timezone

from market_pipeline.clock import start_of_day
from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.errors import CoinGeckoError, RequestRefused, TransientError
from market_pipeline.coingecko.models import RawPoint, payload_text
from market_pipeline.prices.quotes import Quote, Refusal, Source
from market_pipeline.prices.validate import Examined, examine
from market_pipeline.prices.windows import windows
from market_pipeline.slices import Slice
from market_pipeline.symbols import Catalogue

logger = logging.getLogger(__name__)

NOT_FOUND = 404


@dataclass(frozen=True)
class Collected:
    """Everything that came of one collection.

    `quotes` are sorted by symbol and time, each time of a symbol once; each refusal is there once.
    `unasked` are coin ids that were in an answer although nobody asked for them, `requests` counts
    the HTTP requests sent, retries included, and `failures` holds the first error of each symbol of
    which at least one request failed; its other quotes are here all the same.
    """

    quotes: tuple[Quote, ...]
    refusals: tuple[Refusal, ...]
    unasked: tuple[str, ...]
    requests: int
    failures: Mapping[str, CoinGeckoError]


@dataclass
class _Progress:
    """What has come so far, each quote and each refusal once: neighbouring windows share a midnight."""

    quotes: dict[tuple[str, datetime], Quote] = field(default_factory=dict)
    refusals: dict[str, Refusal] = field(default_factory=dict)
    unasked: tuple[str, ...] = ()
    failures: dict[str, CoinGeckoError] = field(default_factory=dict)

    def keep(self, examined: Examined) -> None:
        self.quotes.update(((quote.symbol, quote.timestamp), quote) for quote in examined.quotes)
        self.refusals.update((refusal.id, refusal) for refusal in examined.refusals)

    def fail(self, symbols: Iterable[str], error: CoinGeckoError) -> None:
        """Remember the first error of each symbol; later ones add nothing that a person needs."""
        for symbol in symbols:
            self.failures.setdefault(symbol, error)


def collect(
    client: CoinGeckoClient, catalogue: Catalogue, days: Iterable[tuple[date, str]], now: datetime
) -> Collected:
    """Bring the (UTC day, symbol) pairs `days` up to date; the day of `now` (aware) is today.

    Today costs one request for all symbols, the past one for each 90 neighbouring days of a symbol.
    A failed request does not stop the others, unless every other one would fail the same way: then
    all symbols that are still waiting fail with that error. Raises ValueError, before any request,
    for a day in the future and for a symbol that is not in `catalogue`.
    """
    today = now.astimezone(timezone.utc).date()
    asked = _by_symbol(days, catalogue, today)
    past = [(day, symbol) for symbol, chosen in asked.items() for day in chosen if day < today]
    live = [symbol for symbol, chosen in asked.items() if today in chosen]
    before = client.requests_sent
    progress = _Progress()
    stopped = _collect_live(client, catalogue, live, asked, progress) if live else None
    oldest = now - client.reach if client.reach else None
    _collect_past(client, catalogue, _windows_by_reach(past, oldest), asked, progress, stopped)
    return Collected(
        quotes=tuple(progress.quotes[key] for key in sorted(progress.quotes)),
        refusals=tuple(progress.refusals.values()),
        unasked=progress.unasked,
        requests=client.requests_sent - before,
        failures=progress.failures,
    )


def _by_symbol(
    days: Iterable[tuple[date, str]], catalogue: Catalogue, today: date
) -> dict[str, set[date]]:
    """The days asked for of each symbol, in the order of the catalogue."""
    chosen: dict[str, set[date]] = {symbol: set() for symbol in catalogue.symbols}
    for day, symbol in days:
        if day > today:
            raise ValueError(f"{day} has not begun: it is {today} in UTC, and the future has no prices")
        chosen[catalogue.validate_symbol(symbol)].add(day)
    return {symbol: wanted for symbol, wanted in chosen.items() if wanted}


def _windows_by_reach(days: list[tuple[date, str]], oldest: datetime | None) -> list[Slice]:
    """The windows, cut where the plan's history begins: one day that is too old has its whole window
    refused."""
    too_old = [(day, symbol) for day, symbol in days if oldest and start_of_day(day) < oldest]
    return windows(too_old) + windows(set(days) - set(too_old))


def _collect_live(
    client: CoinGeckoClient,
    catalogue: Catalogue,
    symbols: list[str],
    asked: Mapping[str, Collection[date]],
    progress: _Progress,
) -> CoinGeckoError | None:
    """Ask for the current prices; returns the error if it would meet every other request too."""
    symbol_of = {catalogue.coin(symbol).coin_id: symbol for symbol in symbols}
    try:
        answer = client.simple_price(symbol_of)
    except CoinGeckoError as error:
        logger.error("No current prices of %s: %s", ", ".join(symbols), error)
        progress.fail(symbols, error)
        return error if error.affects_all else None
    progress.unasked = answer.unasked
    # The request may have waited its turn, so the answer is judged by the time at which it came.
    came = client.clock()
    for point in answer.points:
        symbol = symbol_of[point.coin_id]
        progress.keep(examine([point], symbol=symbol, days=asked[symbol], now=came, source=Source.LIVE))
    return None


def _collect_past(
    client: CoinGeckoClient,
    catalogue: Catalogue,
    needed: list[Slice],
    asked: Mapping[str, Collection[date]],
    progress: _Progress,
    stopped: CoinGeckoError | None,
) -> None:
    """Ask for each window, until an error shows that asking on is pointless."""
    down: set[str] = set()
    for window in needed:
        if stopped:
            progress.fail([window.symbol], stopped)
            continue
        if window.symbol in down:
            continue
        try:
            progress.keep(_examine_window(client, catalogue, window, asked[window.symbol]))
        except CoinGeckoError as error:
            logger.error("No prices of %s from %s to %s: %s", window.symbol, window.first, window.last, error,
                         extra={"symbol": window.symbol})
            progress.fail([window.symbol], error)
            stopped = error if error.affects_all else None
            # A refused window (too old, say) tells nothing of the next one; a failed server does.
            if isinstance(error, TransientError):
                down.add(window.symbol)


def _examine_window(
    client: CoinGeckoClient, catalogue: Catalogue, window: Slice, days: Collection[date]
) -> Examined:
    coin_id = catalogue.coin(window.symbol).coin_id
    try:
        points = client.market_chart_range(coin_id, window.start, window.end)
    except RequestRefused as error:
        if error.status != NOT_FOUND:
            raise
        # An answer, and the same as a coin left out of current prices: it has no price.
        points = (RawPoint(coin_id, None, None, payload_text(str(error))),)
    return examine(
        points, symbol=window.symbol, days=days, now=client.clock(), source=Source.HISTORY,
        window=(window.start, window.end),
    )
