"""Past days by windows of history: as few requests as possible, none that the plan is certain to refuse, and a
note of the stretches without prices."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from market_pipeline.coingecko.errors import CoinGeckoError, OutOfReach, RequestRefused
from market_pipeline.coingecko.models import RawPoint, payload_text
from market_pipeline.coingecko.outage import Outage
from market_pipeline.core.clock import DAY, iso
from market_pipeline.core.slices import Slice
from market_pipeline.core.symbols import Catalogue
from market_pipeline.logs import bound, get_logger
from market_pipeline.prices.absences import Answered, AnswerTimes
from market_pipeline.prices.collection import Progress
from market_pipeline.prices.gaps import LONGEST_GAP, PUBLISHING, Interval, day_interval, gaps, last_settled_day, merged
from market_pipeline.prices.quotes import Source
from market_pipeline.prices.validation import examine
from market_pipeline.prices.windows import LONGEST_WINDOW_DAYS, windows

if TYPE_CHECKING:
    from market_pipeline.coingecko.client import CoinGeckoClient

_NOT_FOUND = 404
# Any other 404 may be a wrong address, which proves nothing about a coin.
_UNKNOWN_COIN = re.compile("coin not found|could not find coin", re.IGNORECASE)


@dataclass(frozen=True)
class Chart:
    """The points of one answer, unjudged; `came` (aware UTC) is when it arrived.

    `until` is the source's clock then. `evidence` describes request and answer in a sentence; None if the answer
    says nothing about the coin.
    """

    points: tuple[RawPoint, ...]
    came: datetime
    until: datetime
    evidence: str | None


def fetch_chart(client: CoinGeckoClient, coin_id: str, span: Interval) -> Chart:
    """Ask for the prices of a coin in `span` (whole seconds); raises CoinGeckoError without an answer.

    A 404 is an answer, and the same as a coin left out of current prices: one point without a price.
    """
    asked = f"Asked for {coin_id} from {iso(span.start)} to {iso(span.end)}"
    try:
        points = client.market_chart_range(coin_id, span.start, span.end)
    except RequestRefused as error:
        if error.status != _NOT_FOUND:
            raise
        came = client.clock()
        unknown = f"{asked} at {iso(came.replace(microsecond=0))}: CoinGecko does not know the coin."
        point = RawPoint(coin_id, None, None, payload_text(str(error)))
        return Chart((point,), came, came, unknown if _UNKNOWN_COIN.search(error.body) else None)
    came = client.clock()
    held = f"the answer held {len(points)} points, no acceptable price among them for this time."
    return Chart(points, came, _source_clock(client, came), f"{asked} at {iso(came.replace(microsecond=0))}: {held}")


def _source_clock(client: CoinGeckoClient, came: datetime) -> datetime:
    """The server's time of the last answer; where it named none, ours less the time that publishing takes."""
    skew = client.clock_skew
    return came - PUBLISHING if skew is None else (came - timedelta(seconds=skew)).replace(microsecond=0)


logger = get_logger(__name__)

# A request may wait its turn for some minutes, and the server judges its age when it comes.
_MARGIN = timedelta(minutes=10)
# Prices on both sides of midnight prove that a silence around it is the source's own.
_AROUND = timedelta(hours=6)


def fetch_past(
    client: CoinGeckoClient,
    catalogue: Catalogue,
    asked: Mapping[str, Collection[date]],
    progress: Progress,
    outage: Outage,
) -> None:
    """Ask for the windows of the days `asked`, until `outage` shows that asking on is pointless.

    Days older than the plan reaches fail without a request; of the day at the edge the part within
    reach is asked for.
    """
    oldest = _oldest_within_reach(client)
    reached = []
    for symbol, days in asked.items():
        too_old = {day for day in days if oldest and day_interval(day).end <= oldest}
        if too_old:
            progress.fail([symbol], _beyond_reach(client, catalogue.coin(symbol).source_id, min(too_old)))
        reached += [(day, symbol) for day in days if day not in too_old]
    of_symbol = {symbol: list(found) for symbol, found in groupby(windows(reached), attrgetter("symbol"))}
    for symbol in outage.order(of_symbol):
        for window in of_symbol[symbol]:
            if outage.stopped:
                progress.fail([symbol], outage.stopped)
                break
            with bound(symbol=symbol):
                error = _collect_window(client, catalogue, window, progress)
            outage.note(error)
            # A refused window tells nothing of the next one; a failed server does.
            if error and not isinstance(error, RequestRefused):
                break


def _collect_window(
    client: CoinGeckoClient, catalogue: Catalogue, window: Slice, progress: Progress
) -> CoinGeckoError | None:
    """Ask for one window and keep what comes; returns the error if nothing does."""
    coin = catalogue.coin(window.symbol)
    oldest = _oldest_within_reach(client)
    start = max(window.start, oldest) if oldest else window.start
    try:
        if start >= window.end:
            raise _beyond_reach(client, coin.source_id, window.first)
        span = Interval(start, window.end)
        asked = _with_surroundings(span, oldest, client.clock())
        chart = fetch_chart(client, coin.source_id, asked)
    except CoinGeckoError as error:
        logger.error("No prices of %s from %s to %s: %s", window.symbol, window.first, window.last, error)
        progress.fail([window.symbol], error)
        return error
    examined = examine(
        chart.points, coin=coin, days=window.days, now=chart.came, source=Source.HISTORY,
        window=(asked.start, asked.end),
    )
    quotes = tuple(quote for quote in examined.quotes if span.start <= quote.timestamp <= span.end)
    progress.add(replace(examined, quotes=quotes))
    if chart.evidence:
        progress.answered.append(Answered(coin.symbol, coin.coin_id, span))
        answer = AnswerTimes.of(examined, asked, LONGEST_GAP, chart.until)
        for silence in _silences(window, span, answer, chart.came):
            progress.absences += answer.absences(coin, silence, chart.evidence, chart.came)
    return None


def _with_surroundings(span: Interval, oldest: datetime | None, now: datetime) -> Interval:
    """`span` and some hours on both sides, as far as they are published and the answer stays hourly."""
    published = (now - PUBLISHING).replace(microsecond=0)
    start = max(span.start - _AROUND, oldest or span.start - _AROUND)
    wide = Interval(start, max(span.end, min(span.end + _AROUND, published)))
    return wide if wide.length <= LONGEST_WINDOW_DAYS * DAY else span


def _silences(window: Slice, span: Interval, answer: AnswerTimes, now: datetime) -> list[Interval]:
    """The gaps of settled days in the `answer` for `span`, neighbours joined."""
    settled = [day_interval(day) for day in window.days if day <= last_settled_day(now)]
    if not settled or settled[-1].end <= span.start:
        return []
    # A midnight ends a gap, because days are judged one by one.
    edges = [day.start for day in settled] + [*answer.times]
    return merged(gaps(edges, span.start, settled[-1].end, LONGEST_GAP))


def _oldest_within_reach(client: CoinGeckoClient) -> datetime | None:
    """From when on this plan has history, a little late; None where no limit is known."""
    return (client.clock() - client.reach + _MARGIN).replace(microsecond=0) if client.reach else None


def _beyond_reach(client: CoinGeckoClient, coin_id: str, day: date) -> OutOfReach:
    reach = client.reach.days if client.reach else 0
    oldest = iso(client.clock().replace(microsecond=0) - timedelta(days=reach))
    return OutOfReach(
        f"{day} is older than the {reach} days that this plan reaches back (now to {oldest}); set HISTORY_START to "
        "a later day, ask for later days, or use a paid plan.",
        endpoint=f"/coins/{coin_id}/market_chart/range",
    )
