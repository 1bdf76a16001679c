"""Fetch past days by windows of history, as few as possible, and note the stretches without prices."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from market_pipeline.coingecko.errors import CoinGeckoError, OutOfReach, RequestRefused
from market_pipeline.coingecko.models import RawPoint, payload_text
from market_pipeline.core.clock import DAY, iso
from market_pipeline.core.slices import Slice
from market_pipeline.core.symbols import Coin
from market_pipeline.logs import bound, get_logger
from market_pipeline.prices.absences import Absence, AnswerTimes
from market_pipeline.prices.collection import Collection
from market_pipeline.prices.gaps import LONGEST_GAP, PUBLISHING, Interval, day_interval, gaps, last_settled_day, merged
from market_pipeline.prices.quotes import Source
from market_pipeline.prices.validation import Examined, examine
from market_pipeline.prices.windows import LONGEST_WINDOW_DAYS, windows

if TYPE_CHECKING:
    from market_pipeline.coingecko.client import CoinGeckoClient

logger = get_logger(__name__)

_NOT_FOUND = 404
# Any other 404 may be a wrong address, which proves nothing about a coin.
_UNKNOWN_COIN = re.compile("coin not found|could not find coin", re.IGNORECASE)

# A request may wait minutes for the budget, and the server judges the age of the days when it arrives.
_MARGIN = timedelta(minutes=10)
# Prices on both sides of midnight prove that a silence around it is the source's own.
_AROUND = timedelta(hours=6)


@dataclass(frozen=True)
class Chart:
    """The points of an answer about `coin` in the time `asked`, not judged yet.

    `received_at` (aware UTC) is when it arrived, `until` the source's clock then. `evidence` describes request and
    answer in a sentence; None if the answer proves nothing about the coin.
    """

    coin: Coin
    asked: Interval
    points: tuple[RawPoint, ...]
    received_at: datetime
    until: datetime
    evidence: str | None

    def examined(self, days: Sequence[date]) -> Examined:
        """Judge the points, which were requested as history of `days`."""
        return examine(
            self.points, coin=self.coin, days=days, now=self.received_at, source=Source.HISTORY,
            window=(self.asked.start, self.asked.end),
        )

    def absences(self, examined: Examined, silences: Iterable[Interval], spacing: timedelta) -> list[Absence]:
        """Return the absences in `silences` of its `examined` points, which are at most `spacing` apart."""
        answer = AnswerTimes.of(examined, self.asked, spacing, self.until)
        evidence = self.evidence or ""
        return [one for gap in silences for one in answer.absences(self.coin, gap, evidence, self.received_at)]


def fetch_chart(client: CoinGeckoClient, coin: Coin, asked: Interval) -> Chart:
    """Request the prices of `coin` in `asked` (whole seconds); raises CoinGeckoError without an answer.

    A 404 is an answer, like a coin left out of current prices: one point without a price.
    """
    request = f"Asked for {coin.source_id} from {iso(asked.start)} to {iso(asked.end)}"
    try:
        points = client.market_chart_range(coin.source_id, asked.start, asked.end)
    except RequestRefused as error:
        if error.status != _NOT_FOUND:
            raise
        received_at = client.clock()
        unknown = f"{request} at {iso(received_at.replace(microsecond=0))}: CoinGecko does not know the coin."
        point = RawPoint(coin.source_id, None, None, payload_text(str(error)))
        evidence = unknown if _UNKNOWN_COIN.search(error.body) else None
        return Chart(coin, asked, (point,), received_at, received_at, evidence)
    received_at = client.clock()
    evidence = (
        f"{request} at {iso(received_at.replace(microsecond=0))}: the answer held {len(points)} points, no acceptable "
        "price among them for this time."
    )
    return Chart(coin, asked, points, received_at, _source_clock(client, received_at), evidence)


def _source_clock(client: CoinGeckoClient, received_at: datetime) -> datetime:
    """Return the server's time of the last answer; where it named none, ours less the time that publishing takes."""
    skew = client.clock_skew
    if skew is None:
        return received_at - PUBLISHING
    return (received_at - timedelta(seconds=skew)).replace(microsecond=0)


def fetch_past(collection: Collection, days: Mapping[str, set[date]]) -> None:
    """Request the windows of the `days` of each symbol, until an outage shows that it is pointless.

    Days older than the plan reaches fail without a request; of the day at the edge the part within reach is
    requested.
    """
    client, outage = collection.client, collection.outage
    oldest = _oldest_within_reach(client)
    reached = []
    for symbol, of_symbol in days.items():
        too_old = {day for day in of_symbol if oldest and day_interval(day).end <= oldest}
        if too_old:
            collection.fail([symbol], _beyond_reach(client, collection.catalogue.coin(symbol), min(too_old)))
        reached += [(day, symbol) for day in of_symbol if day not in too_old]
    windows_of = {symbol: list(found) for symbol, found in groupby(windows(reached), attrgetter("symbol"))}
    for symbol in outage.order(windows_of):
        for window in windows_of[symbol]:
            if outage.stopped:
                collection.fail([symbol], outage.stopped)
                break
            with bound(symbol=symbol):
                error = _fetch_window(collection, window)
            outage.note(error)
            # A refused window does not concern the next one; a failed server does.
            if error and not isinstance(error, RequestRefused):
                break


def _fetch_window(collection: Collection, window: Slice) -> CoinGeckoError | None:
    """Request one window and add its prices; return the error if there is no answer."""
    client, coin = collection.client, collection.catalogue.coin(window.symbol)
    oldest = _oldest_within_reach(client)
    start = max(window.start, oldest) if oldest else window.start
    try:
        if start >= window.end:
            raise _beyond_reach(client, coin, window.first)
        span = Interval(start, window.end)
        chart = fetch_chart(client, coin, _with_surroundings(span, oldest, client.clock()))
    except CoinGeckoError as error:
        logger.error("No prices of %s from %s to %s: %s", window.symbol, window.first, window.last, error)
        collection.fail([window.symbol], error)
        return error
    examined = chart.examined(window.days)
    quotes = tuple(quote for quote in examined.quotes if span.start <= quote.timestamp <= span.end)
    collection.add(replace(examined, quotes=quotes))
    if chart.evidence:
        collection.answered.append((coin, span))
        silences = _silences(window, span, [quote.timestamp for quote in examined.quotes], chart.received_at)
        collection.absences += chart.absences(examined, silences, LONGEST_GAP)
    return None


def _with_surroundings(span: Interval, oldest: datetime | None, now: datetime) -> Interval:
    """Widen `span` by some hours on both sides, as far as they are published and the answer stays hourly."""
    published = (now - PUBLISHING).replace(microsecond=0)
    start = max(span.start - _AROUND, oldest or span.start - _AROUND)
    wide = Interval(start, max(span.end, min(span.end + _AROUND, published)))
    return wide if wide.length <= LONGEST_WINDOW_DAYS * DAY else span


def _silences(window: Slice, span: Interval, times: Iterable[datetime], now: datetime) -> list[Interval]:
    """Return the gaps between `times` in the settled days of `span`, neighbours joined."""
    settled = [day_interval(day) for day in window.days if day <= last_settled_day(now)]
    if not settled or settled[-1].end <= span.start:
        return []
    # A midnight ends a gap, because days are judged one by one.
    edges = [*(day.start for day in settled), *times]
    return merged(gaps(edges, span.start, settled[-1].end, LONGEST_GAP))


def _oldest_within_reach(client: CoinGeckoClient) -> datetime | None:
    """Return when this plan's history begins, a little late; None where no limit is known."""
    return (client.clock() - client.reach + _MARGIN).replace(microsecond=0) if client.reach else None


def _beyond_reach(client: CoinGeckoClient, coin: Coin, day: date) -> OutOfReach:
    reach = client.reach.days if client.reach else 0
    oldest = iso(client.clock().replace(microsecond=0) - timedelta(days=reach))
    return OutOfReach(
        f"{day} is older than the {reach} days that this plan reaches back (now to {oldest}); set HISTORY_START to "
        "a later day, ask for later days, or use a paid plan.",
        endpoint=f"/coins/{coin.source_id}/market_chart/range",
    )
