"""What the chart of a symbol's page shows: candles in their expected band, silences, and the alarms among them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response
from numpy.typing import NDArray
from pydantic_core import to_json

from market_pipeline.anomalies.anomaly import headline_of
from market_pipeline.api.http.compression import compressed
from market_pipeline.api.http.negotiation import JSON
from market_pipeline.api.http.query import Parameters, SymbolInPath, each_once, not_before
from market_pipeline.api.http.times import Moment, text_of, texts_of
from market_pipeline.api.service import Service, ServiceOf
from market_pipeline.charts.track import Track, span_of, track_of
from market_pipeline.core.clock import EPOCH, MICROSECONDS_PER_DAY, from_microseconds, iso
from market_pipeline.core.columns import Columns, to_datetime64
from market_pipeline.pipeline.candle_scores import chart_interval, edge_quotes, scored_candles
from market_pipeline.prices.quotes import FUTURE_TOLERANCE
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.anomaly_pages import AnomalyFilter, Row, important_page
from market_pipeline.storage.queries.coverage import first_times
from market_pipeline.storage.queries.latest import coin_names, day_changes, latest_quotes, prices_at

# The page's own: programs use /candles and /anomalies.
router = APIRouter(include_in_schema=False, dependencies=[Depends(each_once)])

# More would cover the line.
MOST_ALARMS = 200
# The longest ones: a coin that is seldom quoted has thousands.
_MOST_SILENCES = 60
# Significant digits of what is computed; prices are as stored.
_DIGITS = 5
_ALARM_COLUMNS = ("id", "symbol", "kind", "severity", "direction", "mark")

Times = tuple[datetime, datetime]


class ChartSpan(Parameters):
    """The time to show, from the first stored price until now unless it is limited."""

    start: Moment | None = None
    end: Annotated[Moment | None, not_before("start")] = None
    # Half as much before and after it as well, so that the chart can be moved at once.
    around: bool = False


@router.get("/symbols/{symbol}/chart.json")
def chart(request: Request, symbol: SymbolInPath, span: Annotated[ChartSpan, Query()], service: ServiceOf) -> Response:
    """Return at most 2,000 candles, at the shortest interval that allows it."""
    name, now = service.symbol(symbol), service.clock()
    # The years before 1970 hold no prices, and the first of them no room for what is read ahead of a chart.
    end = max(min(span.end or now, now + FUTURE_TOLERANCE), EPOCH)
    first = first_times(service.database, [name]).get(name)
    start = max(EPOCH, *filter(None, (span.start, first))) if span.start or first else end
    start = min(start, end)
    beside = (end - start) / 2 if span.around else timedelta(0)
    shown = max(start - beside, EPOCH, min(first or start, start)), min(end + beside, now + FUTURE_TOLERANCE)
    document = _document(service, name, shown, (start, end), now)
    latest = latest_quotes(service.database, [name], now)
    document["first"] = iso(first) if first else None
    document["newest"] = iso(latest[name].timestamp) if latest else None
    document["change_24h"] = day_changes(service.database, latest, now).get(name)
    return compressed(request, to_json(document), JSON)


def _document(service: Service, symbol: str, shown: Times, asked: Times, now: datetime) -> dict[str, Any]:
    """Return the chart of the time `shown`, with the first and the last quote of the time `asked` for, within it."""
    start, end = shown
    interval = chart_interval(start, end)
    candles = scored_candles(service.database, symbol, start, end, interval, now)
    track = track_of(candles, symbol, start, end)
    edges = edge_quotes(service.database, symbol, candles, *asked)
    # The candles before are for the track only.
    drawn = slice(int(np.searchsorted(candles["last_at"], to_datetime64(start))), None)
    wanted = AnomalyFilter(since=start, until=end, alarms_only=True, concerning=symbol)
    alarms, more = important_page(service.database, service.catalogue.symbols, wanted, None, MOST_ALARMS)
    # The one that goes on first, however short it is.
    last = span_of(start, end)[1]
    longest = sorted(track.silences, key=lambda one: (one[1] < last, one[0] - one[1]))[:_MOST_SILENCES]
    return {
        "symbol": symbol,
        "coin": coin_names(service.database).get(symbol) or service.catalogue.coin(symbol).coin_id,
        "start": iso(start),
        "end": iso(end),
        "interval_seconds": interval / timedelta(seconds=1),
        # The first and the last price of the time asked for.
        "edges": [{"timestamp": iso(quote.timestamp), "price": quote.price} for quote in edges],
        "candles": _candles(candles, track, drawn),
        # Where a line begins: none crosses a silence.
        "stretches": np.flatnonzero(np.diff(track.stretch[drawn], prepend=-1)).tolist(),
        "silences": [[_text_of_day(edge) for edge in silence] for silence in sorted(longest)],
        "alarms": _alarms(service.database, symbol, alarms),
        "more_alarms": more is not None,
    }


def _candles(candles: Columns, track: Track, drawn: slice) -> dict[str, list[Any]]:
    """Return those `drawn` as columns; each is at the time of its close."""
    lower, upper = track.band(1)
    # Half of the band's width, in dollars; unknown after a silence.
    deviation = (upper - lower) / 2
    return {
        "last_at": texts_of(candles["last_at"][drawn].astype(np.int64).tolist()),
        **{name: candles[name][drawn].tolist() for name in ("open", "high", "low", "close", "quotes")},
        "expected": _numbers(track.price_before[drawn], known=np.isfinite(deviation[drawn])),
        "deviation": _numbers(deviation[drawn], digits=_DIGITS),
        "volatility": _numbers(track.volatility[drawn], digits=_DIGITS),
    }


def _numbers(
    values: NDArray[np.float64], *, known: NDArray[np.bool_] | None = None, digits: int | None = None
) -> list[float | None]:
    """Return `values` as JSON has them: null where they are unknown, with so many significant digits."""
    finite = np.isfinite(values) if known is None else known & np.isfinite(values)
    numbers = values.tolist()
    if digits is not None:
        numbers = [float(f"{number:.{digits}g}") for number in numbers]
    return [number if is_known else None for number, is_known in zip(numbers, finite.tolist(), strict=True)]


def _alarms(database: Database, symbol: str, rows: Sequence[Row]) -> list[dict[str, object]]:
    """Return the alarms in time order, each with the price of `symbol` at its time; null if that is not known.

    An alarm is stored with the time of its first quote and the price of its peak, a move of the market perhaps with
    that of another coin.
    """
    rows = sorted(rows, key=lambda row: int(row.timestamp))
    times = [from_microseconds(int(row.timestamp)) for row in rows]
    prices = prices_at(database, symbol, set(times))
    return [
        {
            **{name: getattr(row, name) for name in _ALARM_COLUMNS},
            "timestamp": text_of(row.timestamp),
            "price": prices.get(at, row.price_after if row.symbol == symbol else None),
            "headline": headline_of(row.headline, row.explanation),
        }
        for at, row in zip(times, rows, strict=True)
    ]


def _text_of_day(day: float) -> str:
    """Write a time that is given in days since 1970."""
    return iso(EPOCH + timedelta(microseconds=round(day * MICROSECONDS_PER_DAY)))
